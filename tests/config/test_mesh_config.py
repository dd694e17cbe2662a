import json

import pytest

from plait.config import mesh_config
from plait.config.kinds.gateway import TLSProtocol
from plait.config.kinds.sidecar import OutboundTrafficPolicyMode
from plait.config.mesh_config import AccessLogEncoding, MeshConfig
from plait.xds import filters

BARE = """\
accessLogFile: /dev/stdout
accessLogEncoding: JSON
connectTimeout: 2s
outboundTrafficPolicy:
  mode: REGISTRY_ONLY
defaultConfig:
  concurrency: 2
  drainDuration: 1m
"""


def test_an_empty_text_means_the_defaults():
    assert mesh_config.read("", "mesh.yaml") == (MeshConfig(), ())
    assert MeshConfig().outbound_traffic_policy.mode is OutboundTrafficPolicyMode.ALLOW_ANY
    assert MeshConfig().connect_timeout == 10.0


def test_settings_are_read_bare_and_from_a_config_map():
    bare, problems = mesh_config.read(BARE, "mesh.yaml")
    text = "".join(f"    {line}\n" for line in BARE.splitlines())
    wrapped, _ = mesh_config.read(f"kind: ConfigMap\ndata:\n  mesh: |\n{text}", "mesh.yaml")

    assert problems == ()
    assert bare is not None
    assert bare == wrapped
    assert bare.access_log_encoding is AccessLogEncoding.JSON
    assert (bare.connect_timeout, bare.default_config.drain_duration) == (2.0, 60.0)
    assert bare.outbound_traffic_policy.mode is OutboundTrafficPolicyMode.REGISTRY_ONLY


def test_every_problem_is_told_with_its_place():
    text = "conectTimeout: 1s\nconnectTimeout: 5\nrootNamespace: x\ndefaultConfig:\n  tracing: {}\n"
    settings, problems = mesh_config.read(text, "mesh.yaml")

    assert settings is None
    assert {(each.code, each.path, each.locator) for each in problems} == {
        ("PLT1003", "conectTimeout", "mesh.yaml:1:1"),
        ("PLT1005", "connectTimeout", "mesh.yaml:2:1"),
        ("PLT1007", "rootNamespace", "mesh.yaml:3:1"),
        ("PLT1007", "defaultConfig.tracing", "mesh.yaml:5:3"),
    }
    assert [each.hint for each in problems if each.code == "PLT1003"] == [
        'did you mean "connectTimeout"?'
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("connectTimeout: 0s", "connectTimeout"),
        ("protocolDetectionTimeout: 0.1ms", "protocolDetectionTimeout"),
        ("accessLogFormat: '%PROTOCOLL%'", "accessLogFormat"),
        ("accessLogFormat: '%REQ%'", "accessLogFormat"),
        ("accessLogFormat: '100%'", "accessLogFormat"),
        (
            """{accessLogEncoding: JSON, accessLogFormat: '{"a": [{"b": "%X%"}]}'}""",
            "accessLogFormat",
        ),
        ("{accessLogEncoding: JSON, accessLogFormat: '%X%'}", "accessLogFormat"),
    ],
)
def test_what_envoy_would_refuse_every_listener_or_cluster_for_is_refused(text: str, path: str):
    settings, problems = mesh_config.read(text, "mesh.yaml")

    assert settings is None
    assert [(each.code, each.path) for each in problems] == [("PLT1006", path)]


def test_the_formats_of_istio_are_taken():
    text = {"accessLogFormat": filters.TEXT_FORMAT}
    structure = {
        "accessLogEncoding": "JSON",
        "accessLogFormat": json.dumps(filters.JSON_FORMAT),
    }

    for found in (text, structure):
        settings, problems = mesh_config.read(json.dumps(found), "mesh.yaml")
        assert settings is not None
        assert problems == ()


def test_warnings_leave_the_settings_in_force():
    settings, problems = mesh_config.read("rootNamespace: x\naccessLogFile: /a\n", "mesh.yaml")

    assert settings == MeshConfig(access_log_file="/a")
    assert [each.code for each in problems] == ["PLT1007"]


def test_what_is_no_settings_is_refused():
    for text in ("a: [", "a: 1\n---\nb: 1\n", "kind: ConfigMap\n", "- 1\n"):
        settings, problems = mesh_config.read(text, "mesh.yaml")

        assert settings is None
        assert [each.locator.split(":")[0] for each in problems] == ["mesh.yaml"]


SECURITY = """\
trustDomain: corp.example
trustDomainAliases: [cluster.local, old.example]
enableAutoMtls: false
meshMTLS: {minProtocolVersion: TLSV1_3, ecdhCurves: [P-256]}
tlsDefaults: {cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]}
"""


def test_settings_of_identity_and_encryption_are_read_as_istio_writes_them():
    settings, problems = mesh_config.read(SECURITY, "mesh.yaml")

    assert problems == ()
    assert settings is not None
    assert settings.trust_domain == "corp.example"
    assert settings.trust_domain_aliases == ("cluster.local", "old.example")
    assert not settings.enable_auto_mtls
    assert settings.mesh_mtls.min_protocol_version is TLSProtocol.TLSV1_3
    assert settings.mesh_mtls.ecdh_curves == ("P-256",)
    assert settings.tls_defaults.cipher_suites == ("ECDHE-RSA-AES128-GCM-SHA256",)


def test_broken_settings_of_encryption_are_refused_with_their_place():
    text = "trustDomain: a/b\nmeshMTLS:\n  cipherSuites: [RC4, AES128-SHA, AES128-SHA]\n"
    settings, problems = mesh_config.read(text, "mesh.yaml")

    assert settings is None
    assert [(each.path, each.locator) for each in problems] == [
        ("trustDomain", "mesh.yaml:1:1"),
        ("meshMTLS.cipherSuites[0]", "mesh.yaml:3:18"),
        ("meshMTLS.cipherSuites[2]", "mesh.yaml:3:35"),
    ]
