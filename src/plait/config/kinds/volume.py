"""Kubernetes' volumes."""

# budget: 470 lines, one struct for each source of volumes
from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from plait.config.kinds.container import ObjectFieldSelector, ResourceFieldSelector
from plait.config.kinds.core import LocalObjectReference
from plait.config.kinds.labels import LabelSelector, ObjectMeta
from plait.config.kinds.units import Quantity


class KeyToPath(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A key that becomes a file."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class HostPathVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A path of the node."""

    path: str = ""
    type: str = ""


class EmptyDirVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A directory that lives as long as the Pod."""

    medium: str = ""
    size_limit: Quantity | None = None


class GCEPersistentDiskVolumeSource(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A disk of Google's cloud."""

    pd_name: str = ""
    fs_type: str = ""
    partition: int = 0
    read_only: bool = False


class AWSElasticBlockStoreVolumeSource(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A disk of Amazon's cloud."""

    volume_id: str = field(default="", name="volumeID")
    fs_type: str = ""
    partition: int = 0
    read_only: bool = False


class GitRepoVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A checkout of a repository."""

    repository: str = ""
    revision: str = ""
    directory: str = ""


class SecretVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A Secret as files."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class NFSVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A directory of an NFS server."""

    server: str = ""
    path: str = ""
    read_only: bool = False


class ISCSIVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A disk over iSCSI."""

    target_portal: str = ""
    iqn: str = ""
    lun: int = 0
    iscsi_interface: str = ""
    fs_type: str = ""
    read_only: bool = False
    portals: tuple[str, ...] = ()
    chap_auth_discovery: bool = False
    chap_auth_session: bool = False
    secret_ref: LocalObjectReference | None = None
    initiator_name: str = ""


class GlusterfsVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume of Glusterfs."""

    endpoints: str = ""
    path: str = ""
    read_only: bool = False


class PersistentVolumeClaimVolumeSource(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A claim of the same namespace."""

    claim_name: str = ""
    read_only: bool = False


class RBDVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A block device of Ceph."""

    monitors: tuple[str, ...] = ()
    image: str = ""
    fs_type: str = ""
    pool: str = ""
    user: str = ""
    keyring: str = ""
    secret_ref: LocalObjectReference | None = None
    read_only: bool = False


class FlexVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume of a driver on the node."""

    driver: str = ""
    fs_type: str = ""
    secret_ref: LocalObjectReference | None = None
    read_only: bool = False
    options: Mapping[str, str] = {}


class CinderVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A disk of OpenStack."""

    volume_id: str = field(default="", name="volumeID")
    fs_type: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None


class CephFSVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file system of Ceph."""

    monitors: tuple[str, ...] = ()
    path: str = ""
    user: str = ""
    secret_file: str = ""
    secret_ref: LocalObjectReference | None = None
    read_only: bool = False


class FlockerVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A dataset of Flocker."""

    dataset_name: str = ""
    dataset_uuid: str = field(default="", name="datasetUUID")


class DownwardAPIVolumeFile(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A fact about the Pod as a file."""

    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIVolumeSource(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Facts about the Pod as files."""

    items: tuple[DownwardAPIVolumeFile, ...] = ()
    default_mode: int | None = None


class FCVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A disk over Fibre Channel."""

    target_wwns: tuple[str, ...] = field(default=(), name="targetWWNs")
    lun: int | None = None
    fs_type: str = ""
    read_only: bool = False
    wwids: tuple[str, ...] = ()


class AzureFileVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A share of Azure."""

    secret_name: str = ""
    share_name: str = ""
    read_only: bool = False


class AzureDiskVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A disk of Azure."""

    disk_name: str = ""
    disk_uri: str = field(default="", name="diskURI")
    caching_mode: str = ""
    fs_type: str = ""
    read_only: bool | None = None
    kind: str = ""


class ConfigMapVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A ConfigMap as files."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class VsphereVirtualDiskVolumeSource(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A disk of vSphere."""

    volume_path: str = ""
    fs_type: str = ""
    storage_policy_name: str = ""
    storage_policy_id: str = field(default="", name="storagePolicyID")


class QuobyteVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume of Quobyte."""

    registry: str = ""
    volume: str = ""
    read_only: bool = False
    user: str = ""
    group: str = ""
    tenant: str = ""


class PhotonPersistentDiskVolumeSource(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A disk of Photon."""

    pd_id: str = field(default="", name="pdID")
    fs_type: str = ""


class SecretProjection(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A Secret within a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None


class DownwardAPIProjection(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Facts about the Pod within a projected volume."""

    items: tuple[DownwardAPIVolumeFile, ...] = ()


class ConfigMapProjection(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A ConfigMap within a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None


class ServiceAccountTokenProjection(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A token within a projected volume."""

    audience: str = ""
    expiration_seconds: int | None = None
    path: str = ""


class ClusterTrustBundleProjection(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Certificates that are trusted, within a projected volume."""

    name: str = ""
    signer_name: str = ""
    label_selector: LabelSelector | None = None
    optional: bool | None = None
    path: str = ""


class PodCertificateProjection(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A certificate of the Pod within a projected volume."""

    signer_name: str = ""
    key_type: str = ""
    max_expiration_seconds: int | None = None
    credential_bundle_path: str = ""
    key_path: str = ""
    certificate_chain_path: str = ""
    user_annotations: Mapping[str, str] = {}


class VolumeProjection(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One part of a projected volume."""

    secret: SecretProjection | None = None
    downward_api: DownwardAPIProjection | None = field(default=None, name="downwardAPI")
    config_map: ConfigMapProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None
    cluster_trust_bundle: ClusterTrustBundleProjection | None = None
    pod_certificate: PodCertificateProjection | None = None


class ProjectedVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Several sources in one directory."""

    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int | None = None


class PortworxVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume of Portworx."""

    volume_id: str = field(default="", name="volumeID")
    fs_type: str = ""
    read_only: bool = False


class ScaleIOVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume of ScaleIO."""

    gateway: str = ""
    system: str = ""
    secret_ref: LocalObjectReference | None = None
    ssl_enabled: bool = False
    protection_domain: str = ""
    storage_pool: str = ""
    storage_mode: str = ""
    volume_name: str = ""
    fs_type: str = ""
    read_only: bool = False


class StorageOSVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume of StorageOS."""

    volume_name: str = ""
    volume_namespace: str = ""
    fs_type: str = ""
    read_only: bool = False
    secret_ref: LocalObjectReference | None = None


class CSIVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume of a CSI driver."""

    driver: str = ""
    read_only: bool | None = None
    fs_type: str = ""
    volume_attributes: Mapping[str, str] = {}
    node_publish_secret_ref: LocalObjectReference | None = None


class ImageVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An image's files."""

    reference: str = ""
    pull_policy: str = ""


class VolumeResourceRequirements(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """How much storage is asked for."""

    limits: Mapping[str, Quantity] = {}
    requests: Mapping[str, Quantity] = {}


class TypedObjectReference(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Another object, by its kind."""

    api_group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


class PersistentVolumeClaimSpec(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A wish for storage."""

    access_modes: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    resources: VolumeResourceRequirements = VolumeResourceRequirements()
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str = ""
    data_source: TypedObjectReference | None = None
    data_source_ref: TypedObjectReference | None = None
    volume_attributes_class_name: str = ""


class PersistentVolumeClaimTemplate(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A claim that is made with the Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()


class EphemeralVolumeSource(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume that is made with the Pod."""

    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class Volume(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Storage that a Pod's containers share; one source."""

    name: str = ""
    host_path: HostPathVolumeSource | None = None
    empty_dir: EmptyDirVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    git_repo: GitRepoVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    flex_volume: FlexVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = field(default=None, name="downwardAPI")
    fc: FCVolumeSource | None = None
    azure_file: AzureFileVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    scale_io: ScaleIOVolumeSource | None = field(default=None, name="scaleIO")
    storageos: StorageOSVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    image: ImageVolumeSource | None = None
