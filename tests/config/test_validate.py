"""Each rule about one object alone, broken: a fragment of a spec, the field, and what is said."""

import pytest

from plait.config import codec
from plait.config.document import Document
from plait.config.ports import Change

ISTIO = "networking.istio.io/v1"
VERSIONS = {
    "Service": "v1",
    "Secret": "v1",
    "ConfigMap": "v1",
    "Pod": "v1",
    "Deployment": "apps/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
}
ROUTED = "route: [{destination: {host: a}}]"
PICKED = "selector: {matchLabels: {app: a}}"


def read(kind: str, spec: str, metadata: str = "{name: a, namespace: demo}") -> Change:
    version = VERSIONS.get(kind, ISTIO)
    body = spec if kind in ("EndpointSlice", "Secret", "ConfigMap") else f"spec: {{{spec}}}"
    text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\n{body}\n"
    (document,) = codec.read_yaml(text, "a.yaml")
    assert isinstance(document, Document), document
    found = codec.decode(document)
    assert isinstance(found, Change)
    return found


def errors(found: Change) -> list[tuple[str, str]]:
    return [
        (each.path.removeprefix("spec."), each.message)
        for each in found.problems
        if each.code == "PLT1006"
    ]


def check(kind: str, spec: str, path: str, message: str) -> None:
    found = read(kind, spec)
    told = errors(found)

    assert [text for where, text in told if where == path and message in text], told
    assert found.object is None
    assert all(each.hint for each in found.problems)


def two_listeners(bind: str, number: int, other: str, another: int) -> str:
    listeners = (
        f"{{port: {{number: {port}}}, bind: '{address}', hosts: ['*/*']}}"
        for address, port in ((bind, number), (other, another))
    )
    return f"egress: [{', '.join(listeners)}]"


def http(fields: str) -> str:
    return f"hosts: [a], http: [{{{fields}}}]"


VIRTUAL_SERVICE = [
    ("gateways: [web], http: [{redirect: {uri: /}}]", "hosts", "no host"),
    (f"tcp: [{{{ROUTED}}}]", "hosts", "no host"),
    ("hosts: [a]", "", "no routes"),
    (f"hosts: ['*'], http: [{{{ROUTED}}}]", "hosts[0]", "all traffic"),
    (f"hosts: [a_b], http: [{{{ROUTED}}}]", "hosts[0]", "no host name"),
    (f"hosts: [a.*.b], http: [{{{ROUTED}}}]", "hosts[0]", "no host name"),
    (f"hosts: [a, a], http: [{{{ROUTED}}}]", "hosts[1]", "overlap"),
    (f"hosts: ['*.b.com', a.b.com], http: [{{{ROUTED}}}]", "hosts[1]", "overlap"),
    (f"hosts: [a], gateways: [B/web], http: [{{{ROUTED}}}]", "gateways[0]", "no namespace"),
    (f"hosts: [a], gateways: [a/W_b], http: [{{{ROUTED}}}]", "gateways[0]", "no name"),
    (f"hosts: [a], exportTo: ['*', demo], http: [{{{ROUTED}}}]", "exportTo[0]", "says all"),
    (f"hosts: [a], exportTo: [., demo], http: [{{{ROUTED}}}]", "exportTo[1]", "twice"),
    (f"hosts: [a], exportTo: [a_b], http: [{{{ROUTED}}}]", "exportTo[0]", "no namespace"),
    (http(""), "http[0]", "nothing to do"),
    (http(f"{ROUTED}, redirect: {{uri: /}}"), "http[0].redirect", "together"),
    (http("redirect: {uri: /}, directResponse: {status: 200}"), "http[0].directResponse", "tog"),
    (http("delegate: {}"), "http[0].delegate.name", "missing"),
    (http("redirect: {}"), "http[0].redirect", "changes nothing"),
    (http("redirect: {uri: /, prefixRewrite: /}"), "http[0].redirect.prefixRewrite", "together"),
    (http("redirect: {redirectCode: 304}"), "http[0].redirect.redirectCode", "304"),
    (http("redirect: {scheme: ftp}"), "http[0].redirect.scheme", "ftp"),
    (http("redirect: {port: 0}"), "http[0].redirect.port", "no port"),
    (
        http("redirect: {port: 80, derivePort: FROM_REQUEST_PORT}"),
        "http[0].redirect.derivePort",
        "exclude",
    ),
    (http("redirect: {uri: /}, rewrite: {uri: /}"), "http[0].rewrite", "no effect"),
    (http("directResponse: {status: 99}"), "http[0].directResponse.status", "99"),
    (http("directResponse: {}"), "http[0].directResponse.status", "0"),
    (
        http("directResponse: {status: 200, body: {string: a, bytes: YQ==}}"),
        "http[0].directResponse.body",
        "exclude",
    ),
    (http(f"{ROUTED}, rewrite: {{}}"), "http[0].rewrite", "changes nothing"),
    (
        http(f"{ROUTED}, rewrite: {{uri: /, uriRegexRewrite: {{match: a}}}}"),
        "http[0].rewrite.uriRegexRewrite",
        "together",
    ),
    (
        http(f"{ROUTED}, rewrite: {{uriRegexRewrite: {{match: '('}}}}"),
        "http[0].rewrite.uriRegexRewrite.match",
        "RE2",
    ),
    (http(f"{ROUTED}, timeout: 1us"), "http[0].timeout", "too short"),
    (http(f"{ROUTED}, retries: {{attempts: -1}}"), "http[0].retries.attempts", "too small"),
    (http(f"{ROUTED}, retries: {{attempts: 4294967296}}"), "http[0].retries.attempts", "too much"),
    (
        http(f'{ROUTED}, rewrite: {{uriRegexRewrite: {{match: a, rewrite: "b\\n"}}}}'),
        "http[0].rewrite.uriRegexRewrite.rewrite",
        "one line",
    ),
    (http(f'{ROUTED}, rewrite: {{uri: "/a\\n"}}'), "http[0].rewrite.uri", "one line"),
    (http(f'{ROUTED}, rewrite: {{authority: "a\\r"}}'), "http[0].rewrite.authority", "one line"),
    (http('redirect: {uri: "/a\\n"}'), "http[0].redirect.uri", "one line"),
    (http('redirect: {prefixRewrite: "/\\n"}'), "http[0].redirect.prefixRewrite", "one line"),
    (
        http(f"{ROUTED}, headers: {{request: {{set: {{a: '%NONE%'}}}}}}"),
        "http[0].headers.request.set.a",
        "no command",
    ),
    (
        http(f"{ROUTED}, headers: {{request: {{set: {{a: {'x' * 16385}}}}}}}"),
        "http[0].headers.request.set.a",
        "too long",
    ),
    (
        http(f"{ROUTED}, match: [{{uri: {{regex: 'a{{1,1000}}(b{{1,1000}}c){{9}}'}}}}]"),
        "http[0].match[0].uri.regex",
        "",
    ),
    (http(f"{ROUTED}, retries: {{retryOn: 5xx}}"), "http[0].retries.attempts", "switched off"),
    (http(f"{ROUTED}, retries: {{attempts: 1, retryOn: 5xy}}"), "http[0].retries.retryOn", "5xy"),
    (http(f"{ROUTED}, retries: {{attempts: 1, retryOn: '99'}}"), "http[0].retries.retryOn", "99"),
    (http(f"{ROUTED}, retries: {{attempts: 1, backoff: 0s}}"), "http[0].retries.backoff", "short"),
    (http("route: [{destination: {}}]"), "http[0].route[0].destination.host", "missing"),
    (http("route: [{destination: {host: a b}}]"), "http[0].route[0].destination.host", "no host"),
    (
        http("route: [{destination: {host: a, subset: V_1}}]"),
        "http[0].route[0].destination.subset",
        "subset",
    ),
    (
        http("route: [{destination: {host: a, port: {number: 65536}}}]"),
        "http[0].route[0].destination.port.number",
        "no port",
    ),
    (http("route: [{destination: {host: a}, weight: -1}]"), "http[0].route[0].weight", "small"),
    (http("route: [{destination: {host: a}}, {destination: {host: b}}]"), "http[0].route", "0"),
    (
        http(f"{ROUTED}, match: [{{uri: {{exact: /, prefix: /}}}}]"),
        "http[0].match[0].uri",
        "together",
    ),
    (
        http(f"{ROUTED}, match: [{{uri: {{prefix: ''}}}}]"),
        "http[0].match[0].uri.prefix",
        "empty",
    ),
    (
        http(f"{ROUTED}, match: [{{headers: {{a: {{regex: 'a(?!b)'}}}}}}]"),
        "http[0].match[0].headers.a.regex",
        "RE2",
    ),
    (
        http(f"{ROUTED}, match: [{{queryParams: {{a: {{regex: ''}}}}}}]"),
        "http[0].match[0].queryParams.a.regex",
        "empty",
    ),
    (
        http(f"{ROUTED}, match: [{{withoutHeaders: {{a b: {{}}}}}}]"),
        "http[0].match[0].withoutHeaders[a b]",
        "no name of a header",
    ),
    (http(f"{ROUTED}, match: [{{port: 0}}]"), "http[0].match[0].port", "no port"),
    (
        http(f"{ROUTED}, match: [{{sourceLabels: {{a: 'b c'}}}}]"),
        "http[0].match[0].sourceLabels.a",
        "label",
    ),
    (
        http(f"{ROUTED}, match: [{{sourceNamespace: A}}]"),
        "http[0].match[0].sourceNamespace",
        "no namespace",
    ),
    (
        http(f"{ROUTED}, match: [{{gateways: [A/b]}}]"),
        "http[0].match[0].gateways[0]",
        "no namespace",
    ),
    (
        http(f"{ROUTED}, headers: {{request: {{set: {{'a b': c}}}}}}"),
        "http[0].headers.request.set[a b]",
        "no name of a header",
    ),
    (
        http(f"{ROUTED}, headers: {{request: {{set: {{':path': c}}}}}}"),
        "http[0].headers.request.set[:path]",
        "no name of a header",
    ),
    (
        http(f"{ROUTED}, headers: {{request: {{add: {{a: '50%'}}}}}}"),
        "http[0].headers.request.add.a",
        "%",
    ),
    (
        http(f'{ROUTED}, headers: {{response: {{set: {{a: "b\\nc"}}}}}}'),
        "http[0].headers.response.set.a",
        "line",
    ),
    (
        http(f"{ROUTED}, headers: {{request: {{remove: [host]}}}}"),
        "http[0].headers.request.remove[0]",
        "cannot be removed",
    ),
    (http(f"{ROUTED}, fault: {{}}"), "http[0].fault", "does nothing"),
    (http(f"{ROUTED}, fault: {{delay: {{}}}}"), "http[0].fault.delay", "no delay"),
    (
        http(f"{ROUTED}, fault: {{delay: {{fixedDelay: 1s, percentage: {{value: 101}}}}}}"),
        "http[0].fault.delay.percentage.value",
        "percentage",
    ),
    (
        http(f"{ROUTED}, fault: {{abort: {{httpStatus: 700}}}}"),
        "http[0].fault.abort.httpStatus",
        "700",
    ),
    (http(f"{ROUTED}, fault: {{abort: {{}}}}"), "http[0].fault.abort", "nothing to do"),
    (
        http(f"{ROUTED}, fault: {{abort: {{grpcStatus: NOPE}}}}"),
        "http[0].fault.abort.grpcStatus",
        "gRPC",
    ),
    (
        http(f"{ROUTED}, mirror: {{host: a}}, mirrors: [{{destination: {{host: b}}}}]"),
        "http[0].mirrors",
        "together",
    ),
    (
        http(f"{ROUTED}, mirrors: [{{destination: {{host: b}}, percentage: {{value: -1}}}}]"),
        "http[0].mirrors[0].percentage.value",
        "percentage",
    ),
    (
        http(f"{ROUTED}, mirrorPercentage: {{value: 100.5}}"),
        "http[0].mirrorPercentage.value",
        "percentage",
    ),
    (
        http(f"{ROUTED}, corsPolicy: {{allowOrigins: [{{regex: '['}}]}}"),
        "http[0].corsPolicy.allowOrigins[0].regex",
        "RE2",
    ),
    ("hosts: [a], tcp: [{}]", "tcp[0].route", "no destination"),
    (
        f"hosts: [a], tcp: [{{{ROUTED}, match: [{{destinationSubnets: [10.0.0/8]}}]}}]",
        "tcp[0].match[0].destinationSubnets[0]",
        "no IP address",
    ),
    (f"hosts: [a], tls: [{{{ROUTED}}}]", "tls[0].match", "no condition"),
    (f"hosts: [a], tls: [{{{ROUTED}, match: [{{}}]}}]", "tls[0].match[0].sniHosts", "no host"),
    (
        f"hosts: ['*.com'], tls: [{{{ROUTED}, match: [{{sniHosts: ['*b.com']}}]}}]",
        "tls[0].match[0].sniHosts[0]",
        "partial wildcard",
    ),
    (
        f"hosts: [a.com], tls: [{{{ROUTED}, match: [{{sniHosts: [b.com]}}]}}]",
        "tls[0].match[0].sniHosts[0]",
        "none of",
    ),
]

POLICY = "host: a, trafficPolicy"
DESTINATION_RULE = [
    ("", "host", "missing"),
    ("host: a_b", "host", "no host name"),
    ("host: a, subsets: [{name: a}, {name: a}]", "subsets[1].name", "twice"),
    ("host: a, subsets: [{}]", "subsets[0].name", "subset"),
    ("host: a, subsets: [{name: v1, labels: {a: -}}]", "subsets[0].labels.a", "label"),
    ("host: a, exportTo: [A]", "exportTo[0]", "no namespace"),
    ("host: a, workloadSelector: {matchLabels: {/: b}}", "workloadSelector.matchLabels[/]", "key"),
    (
        f"{POLICY}: {{loadBalancer: {{simple: RANDOM, consistentHash: {{useSourceIp: true}}}}}}",
        "trafficPolicy.loadBalancer.consistentHash",
        "together",
    ),
    (
        f"{POLICY}: {{loadBalancer: {{consistentHash: {{}}}}}}",
        "trafficPolicy.loadBalancer.consistentHash",
        "nothing",
    ),
    (
        f"{POLICY}: {{loadBalancer: {{consistentHash: {{httpCookie: {{}}}}}}}}",
        "trafficPolicy.loadBalancer.consistentHash.httpCookie.name",
        "missing",
    ),
    (
        f"{POLICY}: {{loadBalancer: {{localityLbSetting: {{distribute: [{{to: {{a: 50}}}}]}}}}}}",
        "trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
        "50",
    ),
    (
        f"{POLICY}: {{loadBalancer: {{localityLbSetting: {{failover: [{{from: a, to: a}}]}}}}}}",
        "trafficPolicy.loadBalancer.localityLbSetting.failover[0]",
        "itself",
    ),
    (
        f"{POLICY}: {{loadBalancer: {{warmup: {{aggression: 0.5}}}}}}",
        "trafficPolicy.loadBalancer.warmup.aggression",
        "small",
    ),
    (
        f"{POLICY}: {{connectionPool: {{tcp: {{connectTimeout: 0s}}}}}}",
        "trafficPolicy.connectionPool.tcp.connectTimeout",
        "short",
    ),
    (
        f"{POLICY}: {{connectionPool: {{http: {{maxRetries: -1}}}}}}",
        "trafficPolicy.connectionPool.http.maxRetries",
        "small",
    ),
    (
        f"{POLICY}: {{outlierDetection: {{maxEjectionPercent: 101}}}}",
        "trafficPolicy.outlierDetection.maxEjectionPercent",
        "percentage",
    ),
    (
        f"{POLICY}: {{tls: {{mode: MUTUAL}}}}",
        "trafficPolicy.tls.clientCertificate",
        "missing",
    ),
    (
        f"{POLICY}: {{tls: {{mode: ISTIO_MUTUAL, privateKey: a}}}}",
        "trafficPolicy.tls.privateKey",
        "no effect",
    ),
    (
        f"{POLICY}: {{portLevelSettings: [{{}}]}}",
        "trafficPolicy.portLevelSettings[0].port.number",
        "no port",
    ),
    (
        f"{POLICY}: {{tunnel: {{targetHost: a, protocol: GET, targetPort: 1}}}}",
        "trafficPolicy.tunnel.protocol",
        "tunnel",
    ),
]

SERVER = "port: {number: 80, name: http, protocol: HTTP}"
SECURE = "servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: ['*']"

GATEWAY = [
    ("", "servers", "no server"),
    (f"selector: {{a: 'b c'}}, servers: [{{{SERVER}, hosts: ['*']}}]", "selector.a", "label"),
    (f"servers: [{{{SERVER}}}]", "servers[0].hosts", "no host"),
    ("servers: [{hosts: ['*']}]", "servers[0].port.number", "no port"),
    ("servers: [{hosts: ['*']}]", "servers[0].port.protocol", "missing"),
    ("servers: [{hosts: ['*']}]", "servers[0].port.name", "missing"),
    (
        "servers: [{hosts: ['*'], port: {number: 1, name: a, protocol: SPDY}}]",
        "servers[0].port.protocol",
        "SPDY",
    ),
    (
        f"{SECURE}, tls: {{mode: MUTUAL, credentialName: a, verifyCertificateHash: [abc]}}}}]",
        "servers[0].tls.verifyCertificateHash[0]",
        "no digest",
    ),
    (
        f"{SECURE}, tls: {{mode: MUTUAL, credentialName: a, verifyCertificateSpki: [abc=]}}}}]",
        "servers[0].tls.verifyCertificateSpki[0]",
        "no digest",
    ),
    (f"servers: [{{{SERVER}, hosts: [shop]}}]", "servers[0].hosts[0]", "short name"),
    (f"servers: [{{{SERVER}, hosts: ['*a.com']}}]", "servers[0].hosts[0]", "partial"),
    (f"servers: [{{{SERVER}, hosts: [A/a.com]}}]", "servers[0].hosts[0]", "no namespace"),
    (f"servers: [{{{SERVER}, hosts: ['*'], bind: a}}]", "servers[0].bind", "no IP"),
    (
        f"servers: [{{{SERVER}, hosts: ['*']}}, {{{SERVER}, hosts: ['*']}}]",
        "servers[1].port.name",
        "twice",
    ),
    (
        "servers: [{hosts: ['*'], port: {number: 1, name: a, protocol: HTTPS}}]",
        "servers[0].tls",
        "needs TLS",
    ),
    (f"servers: [{{{SERVER}, hosts: ['*'], tls: {{mode: SIMPLE}}}}]", "servers[0].tls", "HTTP"),
    (
        "servers: [{hosts: ['*'], port: {number: 1, name: a, protocol: TLS}, tls: {mode: SIMPLE}}]",
        "servers[0].tls.privateKey",
        "missing",
    ),
]

ENTRY = "hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}]"
SERVICE_ENTRY = [
    ("hosts: ['*a.com'], ports: [{number: 443, name: tls-a}]", "hosts[0]", "partial wildcard"),
    ("", "hosts", "no host"),
    ("hosts: ['*']", "hosts[0]", "every host"),
    ("hosts: [a, a]", "hosts[1]", "twice"),
    ("hosts: [a], addresses: [a]", "addresses[0]", "no IP address"),
    ("hosts: [a], ports: [{number: 80}]", "ports[0].name", "missing"),
    ("hosts: [a], ports: [{number: 0, name: a}]", "ports[0].number", "no port"),
    ("hosts: [a], ports: [{number: 1, name: a, protocol: X}]", "ports[0].protocol", "X"),
    ("hosts: [a], ports: [{number: 1, name: A}]", "ports[0].name", "no name of a port"),
    ("hosts: [a], ports: [{number: 1, name: a}, {number: 1, name: b}]", "ports[1].number", "twice"),
    ("hosts: [a], ports: [{number: 1, name: a}, {number: 2, name: a}]", "ports[1].name", "twice"),
    (
        f"{ENTRY}, resolution: STATIC, workloadSelector: {{}}, endpoints: [{{address: 1.1.1.1}}]",
        "workloadSelector",
        "together",
    ),
    (f"{ENTRY}, endpoints: [{{address: 1.1.1.1}}]", "endpoints", "no effect"),
    (f"{ENTRY}, resolution: STATIC, endpoints: [{{address: a}}]", "endpoints[0].address", "no IP"),
    (f"{ENTRY}, resolution: STATIC, endpoints: [{{}}]", "endpoints[0].address", "missing"),
    (
        f"{ENTRY}, resolution: STATIC, endpoints: [{{address: 1.1.1.1, ports: {{x: 1}}}}]",
        "endpoints[0].ports.x",
        "no port of the ServiceEntry",
    ),
    (
        f"{ENTRY}, resolution: STATIC, endpoints: [{{address: 'unix://a'}}]",
        "endpoints[0].address",
        "absolute",
    ),
    (
        "hosts: [a], resolution: STATIC, endpoints: [{address: 'unix:///a'}]",
        "endpoints[0].address",
        "0 ports",
    ),
    ("hosts: ['*.a.com'], resolution: DNS", "hosts[0]", "looked up"),
    ("hosts: [a], resolution: DNS, addresses: [10.0.0.0/8]", "addresses[0]", "range"),
    (
        "hosts: [a], resolution: DNS, endpoints: [{address: 'unix:///a'}]",
        "endpoints[0].address",
        "looked up",
    ),
    ("hosts: [a], resolution: DNS, endpoints: [{address: '*.b'}]", "endpoints[0].address", "host"),
    (
        "hosts: [a], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b}, {address: c}]",
        "endpoints",
        "one endpoint",
    ),
]

WORKLOAD_ENTRY = [
    ("", "address", "missing"),
    ("address: 'a b'", "address", "no host name"),
    ("address: 1.1.1.1, ports: {http: 70000}", "ports.http", "no port"),
    ("address: 'unix:///a', ports: {http: 1}", "ports", "no ports"),
    ("address: 1.1.1.1, labels: {a: 'b c'}", "labels.a", "label"),
]

SIDECAR = [
    (two_listeners("unix:///a", 80, "unix:///a", 81), "egress[1].port", "twice"),
    (two_listeners("FD00::1", 80, "fd00:0::1", 80), "egress[1].port", "twice"),
    ("workloadSelector: {labels: {a: 'b c'}}", "workloadSelector.labels.a", "label"),
    ("egress: [{}]", "egress[0].hosts", "no host"),
    ("egress: [{hosts: [a.com]}]", "egress[0].hosts[0]", "no namespace"),
    ("egress: [{hosts: [./reviews]}]", "egress[0].hosts[0]", "short name"),
    ("egress: [{hosts: [A/a.com]}]", "egress[0].hosts[0]", "no namespace"),
    ("egress: [{hosts: ['./*']}, {hosts: ['./*']}]", "egress[0]", "last"),
    ("egress: [{hosts: ['./*'], bind: a}]", "egress[0].bind", "no IP"),
    ("egress: [{hosts: ['./*'], bind: 1.1.1.1}]", "egress[0].bind", "needs a port"),
    ("egress: [{hosts: ['./*'], port: {}}]", "egress[0].port.number", "no port"),
    (
        "egress: [{hosts: ['./*'], port: {number: 1}}, {hosts: ['./*'], port: {number: 1}}]",
        "egress[1].port",
        "twice",
    ),
    ("ingress: [{}]", "ingress[0].port.number", "no port"),
    ("ingress: [{port: {number: 1}}, {port: {number: 1}}]", "ingress[1].port.number", "twice"),
    (
        "ingress: [{port: {number: 1}, defaultEndpoint: '1.1.1.1:1'}]",
        "ingress[0].defaultEndpoint",
        "no endpoint",
    ),
    (
        "ingress: [{port: {number: 1}, defaultEndpoint: '127.0.0.1:0'}]",
        "ingress[0].defaultEndpoint",
        "no port",
    ),
    (
        "ingress: [{port: {number: 1}, bind: 1.1.1.1, captureMode: IPTABLES}]",
        "ingress[0].bind",
        "exclude",
    ),
    (
        "outboundTrafficPolicy: {egressProxy: {host: '*'}}",
        "outboundTrafficPolicy.egressProxy.host",
        "no host name",
    ),
]

SERVICE = [
    ("", "ports", "no port"),
    ("type: X, ports: [{port: 1}]", "type", "no type"),
    ("type: ExternalName", "externalName", "missing"),
    ("clusterIP: a, ports: [{port: 1}]", "clusterIP", "no IP"),
    ("clusterIPs: [None, a], ports: [{port: 1}]", "clusterIPs[1]", "no IP"),
    ("ports: [{port: 0}]", "ports[0].port", "no port"),
    ("ports: [{port: 1, protocol: HTTP}]", "ports[0].protocol", "no transport"),
    ("ports: [{port: 1}, {port: 2, name: a}]", "ports[0].name", "missing"),
    ("ports: [{port: 1, name: a}, {port: 2, name: a}]", "ports[1].name", "twice"),
    ("ports: [{port: 1, name: a}, {port: 1, name: b}]", "ports[1]", "twice"),
    ("ports: [{port: 1, targetPort: 0}]", "ports[0].targetPort", "no port"),
    ("ports: [{port: 1, targetPort: A}]", "ports[0].targetPort", "no name of a port"),
    ("ports: [{port: 1, targetPort: a-very-long-name}]", "ports[0].targetPort", "too long"),
    ("ports: [{port: 1}], selector: {a: 'b c'}", "selector.a", "label"),
]

ENDPOINT_SLICE = [
    ("addressType: X", "addressType", "no type"),
    ("endpoints: [{}]", "endpoints[0].addresses", "no address"),
    ("endpoints: [{addresses: [a]}]", "endpoints[0].addresses[0]", "no IP"),
    ("ports: [{port: 0}]", "ports[0].port", "no port"),
    ("ports: [{port: 1}, {port: 2}]", "ports[1].name", "twice"),
]

PEER_AUTHENTICATION = [
    ("portLevelMtls: {80: {mode: STRICT}}", "portLevelMtls", "ports need a selector"),
    (f"{PICKED}, portLevelMtls: {{0: {{}}}}", "portLevelMtls[0]", "0 is no port"),
    (f"{PICKED}, portLevelMtls: {{http: {{}}}}", "portLevelMtls.http", "no port"),
    ("selector: {matchLabels: {app: 'a*'}}", "selector.matchLabels.app", "wildcards"),
    ("selector: {matchLabels: {app: 'a b'}}", "selector.matchLabels.app", "no value of a label"),
]

SECRET = [
    ("data: {'a/b': ''}", "data[a/b]", "no name of a value"),
    ("stringData: {'': x}", "stringData[]", "no name of a value"),
    ("type: kubernetes.io/tls\ndata: {tls.crt: ''}", "data[tls.key]", "tls.key is missing"),
]

CONFIG_MAP = [
    ("data: {'../a': ''}", "data[../a]", "no name of a value"),
    ("data: {..data: ''}", "data[..data]", "no name of a value"),
    ("binaryData: {'.': ''}", "binaryData[.]", "no name of a value"),
    ("data: {a: ''}\nbinaryData: {a: ''}", "binaryData.a", "same name"),
    (f"data: {{a: {'x' * 1024 * 1024}, b: z}}", "data", "1048577 bytes"),
]

ONE = "containers: [{name: a, image: a}]"
POD = [
    ("containers: [{name: ../a}]", "containers[0].name", "no name of a container"),
    ("containers: [{name: a}, {name: a}]", "containers[1].name", "twice"),
    ("initContainers: [{name: a}], containers: [{name: a}]", "containers[0].name", "twice"),
    (f"{ONE}, volumes: [{{name: ../a}}]", "volumes[0].name", "no name of a volume"),
    (f"{ONE}, volumes: [{{name: a}}, {{name: a}}]", "volumes[1].name", "twice"),
    ("containers: [{name: a, env: [{name: 'a=b'}]}]", "containers[0].env[0].name", "variable"),
    (
        "containers: [{name: a, volumeMounts: [{name: b, mountPath: /b}]}]",
        "containers[0].volumeMounts[0].name",
        "no volume",
    ),
    (
        "volumes: [{name: b}], containers: [{name: a, volumeMounts: [{name: b, mountPath: b}]}]",
        "containers[0].volumeMounts[0].mountPath",
        "no path",
    ),
    *(
        (
            f"volumes: [{{name: a, {source}: {{items: [{{key: a, path: {path}}}]}}}}]",
            f"volumes[0].{source}.items[0].path",
            "within the volume",
        )
        for source in ("configMap", "secret")
        for path in ("../a", "/a", "a/../../b", "''")
    ),
    (
        "volumes: [{name: a, projected: {sources: [{secret: {items: [{path: ../a}]}}]}}]",
        "volumes[0].projected.sources[0].secret.items[0].path",
        "within the volume",
    ),
    (
        "volumes: [{name: a, downwardAPI: {items: [{path: ../a}]}}]",
        "volumes[0].downwardAPI.items[0].path",
        "within the volume",
    ),
    (
        "volumes: [{name: a, secret: {defaultMode: 1000}}]",
        "volumes[0].secret.defaultMode",
        "no mode of a file",
    ),
]
MOUNTS = "volumeMounts: [{name: b, mountPath: /b, subPath: ../b}]"
GOOD_MOUNTS = "volumeMounts: [{name: b, mountPath: /b, subPath: b/c}], env: [{name: A.b-1}]"
DEPLOYMENT = [
    (
        f"template: {{spec: {{volumes: [{{name: b}}], containers: [{{name: a, {MOUNTS}}}]}}}}",
        "template.spec.containers[0].volumeMounts[0].subPath",
        "within the volume",
    )
]

RULES = {
    "ConfigMap": CONFIG_MAP,
    "Pod": POD,
    "Deployment": DEPLOYMENT,
    "Secret": SECRET,
    "PeerAuthentication": PEER_AUTHENTICATION,
    "VirtualService": VIRTUAL_SERVICE,
    "DestinationRule": DESTINATION_RULE,
    "Gateway": GATEWAY,
    "ServiceEntry": SERVICE_ENTRY,
    "WorkloadEntry": WORKLOAD_ENTRY,
    "Sidecar": SIDECAR,
    "Service": SERVICE,
    "EndpointSlice": ENDPOINT_SLICE,
}


@pytest.mark.parametrize(
    ("kind", "spec", "path", "message"),
    [(kind, *row) for kind, rows in RULES.items() for row in rows],
)
def test_a_broken_rule_refuses_the_object_and_names_the_field(kind, spec, path, message):
    check(kind, spec, path or "spec", message)


SELECTED = "workloadSelector: {matchLabels: {app: a}}"
MUTUAL = "clientCertificate: /c, privateKey: /k, caCertificates: /r"


@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("DestinationRule", f"{POLICY}: {{tls: {{mode: SIMPLE, credentialName: a}}}}", "sidecars"),
        (
            "DestinationRule",
            f"{SELECTED}, {POLICY}: {{tls: {{mode: MUTUAL, credentialName: a}}}}",
            "",
        ),
        (
            "DestinationRule",
            f"{SELECTED}, {POLICY}: {{tls: {{mode: SIMPLE, credentialName: a, caCrl: /l}}}}",
            "beside credentialName",
        ),
        (
            "DestinationRule",
            f"{POLICY}: {{tls: {{mode: SIMPLE, insecureSkipVerify: true, caCrl: /l}}}}",
            "beside insecureSkipVerify",
        ),
        (
            "DestinationRule",
            f"{POLICY}: {{tls: {{mode: ISTIO_MUTUAL, caCrl: /l}}}}",
            "beside ISTIO_MUTUAL",
        ),
        ("DestinationRule", f"{POLICY}: {{tls: {{mode: MUTUAL, {MUTUAL}, caCrl: /l}}}}", ""),
        (
            "Gateway",
            f"{SECURE}, tls: {{mode: MUTUAL, credentialName: a, caCrl: /l}}}}]",
            "beside credentialName",
        ),
        (
            "Gateway",
            f"{SECURE}, tls: {{mode: SIMPLE, credentialName: a, caCrl: /l}}}}]",
            "beside SIMPLE",
        ),
    ],
)
def test_what_is_not_looked_at_of_tls_is_said(kind: str, spec: str, told: str):
    found = read(kind, spec)

    assert found.object is not None
    assert [each.code for each in found.problems] == (["PLT1007"] if told else [])
    assert all(told in each.message for each in found.problems)


VALID = [
    ("VirtualService", http(f"{ROUTED}, timeout: 0s")),
    ("VirtualService", http("redirect: {uri: /, redirectCode: 308}")),
    ("VirtualService", http("route: [{destination: {host: a}, weight: 0}]")),
    ("VirtualService", http(f"{ROUTED}, retries: {{attempts: 0}}")),
    ("VirtualService", http(f"{ROUTED}, retries: {{attempts: 2, retryOn: '5xx, 503'}}")),
    ("VirtualService", http(f"{ROUTED}, match: [{{headers: {{a: {{}}, ':method': {{}}}}}}]")),
    (
        "VirtualService",
        http(f"{ROUTED}, headers: {{request: {{set: {{Host: b, x: '%PROTOCOL% 5%%'}}}}}}"),
    ),
    ("VirtualService", f"hosts: [1.1.1.1, '*.a.com', 'b.com'], http: [{{{ROUTED}}}]"),
    ("VirtualService", f"hosts: ['*'], gateways: [edge/web], http: [{{{ROUTED}}}]"),
    ("VirtualService", f"http: [{{{ROUTED}}}]"),
    ("DestinationRule", "host: '*.local', subsets: [{name: v1, labels: {version: v1}}]"),
    ("Gateway", f"selector: {{a: b}}, servers: [{{{SERVER}, hosts: ['*', ./a.com, '*/*.b.com']}}]"),
    ("ServiceEntry", f"{ENTRY}, resolution: STATIC"),
    ("ServiceEntry", f"{ENTRY}, resolution: DNS"),
    ("ServiceEntry", "hosts: ['*.a.com'], addresses: [10.0.0.0/8], ports: []"),
    ("WorkloadEntry", "address: db.example.com, ports: {tcp: 5432}, weight: 3"),
    ("Sidecar", "egress: [{hosts: ['./*', 'istio-system/*', '~/*', '*/a.com']}]"),
    ("Sidecar", "ingress: [{port: {number: 1}, defaultEndpoint: 'unix:///run/a'}]"),
    ("PeerAuthentication", f"{PICKED}, mtls: {{}}, portLevelMtls: {{65535: {{mode: UNSET}}}}"),
    ("PeerAuthentication", "mtls: {mode: STRICT}, selector: {}"),
    ("Secret", "type: kubernetes.io/tls\ndata: {tls.crt: ''}\nstringData: {tls.key: ''}"),
    ("Secret", "data: {.dockerconfigjson: e30=}"),
    ("ConfigMap", "data: {a.b_c-D: x, .x: z}\nbinaryData: {b: ''}"),
    (
        "Pod",
        f"volumes: [{{name: b, secret: {{defaultMode: 0400}}}}], {ONE[:-2]}, {GOOD_MOUNTS}}}]",
    ),
    ("Service", "clusterIP: None"),
    ("Service", "type: ExternalName, externalName: a.com"),
    ("Service", "ports: [{port: 80, targetPort: http}]"),
    ("EndpointSlice", "endpoints: [{addresses: ['fd00::1']}]\naddressType: IPv6"),
]


@pytest.mark.parametrize(("kind", "spec"), VALID)
def test_what_is_allowed_is_in_force(kind, spec):
    found = read(kind, spec)

    assert errors(found) == []
    assert found.object is not None


@pytest.mark.parametrize(
    ("metadata", "path", "message"),
    [
        ("{name: A}", "metadata.name", "no name"),
        ("{name: a.b}", "metadata.name", "no name"),
        ("{name: a, namespace: a.b}", "metadata.namespace", "no namespace"),
        ("{name: a, labels: {a/b/c: d}}", "metadata.labels[a/b/c]", "no key"),
        ("{name: a, labels: {a: b c}}", "metadata.labels.a", "no value"),
        ("{name: a, annotations: {a b: d}}", "metadata.annotations[a b]", "no key"),
    ],
)
def test_names_and_labels_have_the_forms_of_kubernetes(metadata, path, message):
    ((where, text),) = errors(read("Service", "ports: [{port: 1}]", metadata))

    assert where == path
    assert message in text


def test_a_service_may_begin_with_a_digit():
    assert errors(read("Service", "ports: [{port: 1}]", "{name: 1abc}")) == []


def test_all_findings_are_told_at_once():
    found = read("VirtualService", "hosts: [a_b, a_b], http: [{}, {timeout: 1ns}]")

    assert len(errors(found)) == 6


@pytest.mark.parametrize(
    "spec", ["mtls: {mode: ON}", f"{PICKED}, portLevelMtls: {{1: {{mode: 1}}}}"]
)
def test_a_mode_of_mutual_tls_must_be_one_of_istios(spec):
    found = read("PeerAuthentication", spec)

    assert [each.code for each in found.problems if each.code != "PLT1007"] == ["PLT1005"]
    assert "is not one of UNSET, DISABLE, PERMISSIVE, STRICT" in str(found.problems)


def test_a_secret_may_have_a_megabyte():
    found = read("Secret", f"stringData: {{a: {'x' * 2**20}, b: yy}}")

    assert errors(found) == [("data", "the values have 1048578 bytes")]


def test_a_match_by_claims_is_said_to_have_no_effect():
    claims = "{headers: {'@request.auth.claims[sub]': {exact: a}}}"

    found = read("VirtualService", http(f"{ROUTED}, match: [{claims}]"))

    assert found.object is not None
    assert [(each.code, each.path) for each in found.problems] == [
        ("PLT1007", "spec.http[0].match[0].headers[@request.auth.claims[sub]]")
    ]


def test_the_name_of_a_parameter_is_as_long_as_envoy_takes_it():
    match = {"queryParams": {"q" * 1025: {"exact": "a"}}}
    spec = {"hosts": ["a"], "http": [{"match": [match], "directResponse": {"status": 200}}]}
    head = {"apiVersion": ISTIO, "kind": "VirtualService", "metadata": {"name": "a"}}

    found = codec.decode({**head, "spec": spec})

    assert isinstance(found, Change)
    assert [where for where, _ in errors(found)] == ["http[0].match[0].queryParams"]


def test_a_duration_is_no_longer_than_envoy_can_count():
    found = read("VirtualService", http(f"{ROUTED}, timeout: 9000000001s"))

    assert found.object is None
    assert [each.path for each in found.problems] == ["spec.http[0].timeout"]
