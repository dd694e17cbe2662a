"""What of a Pod has no effect where its containers are processes of one machine."""

from __future__ import annotations

from typing import Final

from plait.config.kinds.container import SecurityContext
from plait.config.kinds.pod import PodSecurityContext
from plait.config.kinds.volume import Volume

_USER: Final = ("runAsUser", "runAsGroup")
_VOLUMES: Final = (
    "name",
    "hostPath",
    "emptyDir",
    "configMap",
    "secret",
    "downwardAPI",
    "projected",
)

_POD: Final = (
    "ephemeralContainers",
    "activeDeadlineSeconds",
    "dnsPolicy=Default",
    "dnsPolicy=None",
    "dnsPolicy=ClusterFirstWithHostNet",
    "nodeSelector",
    "automountServiceAccountToken",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
    "imagePullSecrets",
    "affinity",
    "schedulerName",
    "tolerations",
    "priorityClassName",
    "priority",
    "readinessGates",
    "runtimeClassName",
    "enableServiceLinks",
    "preemptionPolicy",
    "overhead",
    "topologySpreadConstraints",
    "setHostnameAsFQDN",
    "os",
    "hostUsers",
    "schedulingGates",
    "resourceClaims",
    "resources",
    "hostnameOverride",
    "workloadRef",
    "volumes[].emptyDir.medium",
    "volumes[].emptyDir.sizeLimit",
    "volumes[].downwardAPI.items[].resourceFieldRef",
    "volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef",
    "volumes[].projected.sources[].serviceAccountToken",
    "volumes[].projected.sources[].clusterTrustBundle",
    "volumes[].projected.sources[].podCertificate",
)
_CONTAINER: Final = (
    "env[].valueFrom.resourceFieldRef",
    "env[].valueFrom.fileKeyRef",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "ports[].hostPort",
    "ports[].hostIP",
    "volumeMounts[].readOnly",
    "volumeMounts[].recursiveReadOnly",
    "volumeMounts[].mountPropagation",
    "volumeMounts[].subPathExpr",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "stdin",
    "stdinOnce",
    "tty",
)


def unenforced(above: str) -> tuple[str, ...]:
    """Paths of such fields, below that of a Pod's specification.

    Images are not pulled, so how that is done is nothing to speak of.
    """
    pod = [
        *_POD,
        *(f"volumes[].{name}" for name in Volume.__struct_encode_fields__ if name not in _VOLUMES),
        *_besides_user("securityContext", PodSecurityContext.__struct_encode_fields__),
    ]
    container = [
        *_CONTAINER,
        *_besides_user("securityContext", SecurityContext.__struct_encode_fields__),
    ]
    pod += [f"{kind}[].{name}" for kind in ("initContainers", "containers") for name in container]
    return tuple(f"{above}.{name}" for name in pod)


def _besides_user(field: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{field}.{name}" for name in names if name not in _USER)
