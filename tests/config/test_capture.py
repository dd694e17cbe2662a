from plait.config import capture


def output(rules: str) -> list[str]:
    return [line for line in rules.splitlines() if line.startswith("-A ISTIO_OUTPUT")]


def test_the_ports_of_the_proxy_are_never_captured():
    lines = capture.rules(capture.Capture()).splitlines()
    redirect = lines.index("-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT")

    for port in (15008, 15020, 15021, 15090):
        assert lines.index(f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN") < redirect


def test_what_the_proxy_sends_is_not_captured_again():
    lines = output(capture.rules(capture.Capture()))

    assert lines[-1] == "-A ISTIO_OUTPUT -j ISTIO_REDIRECT"
    assert "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN" in lines


def test_a_mark_tells_the_proxy_where_there_is_one_user_only():
    rules = capture.rules(capture.Capture(mark=1337))

    assert "--uid-owner" not in rules
    assert "-A ISTIO_OUTPUT -m mark --mark 1337 -j RETURN" in rules


def test_exclusions_come_before_the_redirection():
    lines = output(
        capture.rules(
            capture.Capture(exclude_outbound_ports=(9999,), exclude_outbound_cidrs=("10.9.0.0/16",))
        )
    )

    assert lines[0] == "-A ISTIO_OUTPUT -p tcp --dport 9999 -j RETURN"
    assert "-A ISTIO_OUTPUT -d 10.9.0.0/16 -j RETURN" in lines[:-1]


def test_dns_goes_to_the_agent_over_both_transports_when_asked():
    assert "15053" not in capture.rules(capture.Capture())
    assert capture.rules(capture.Capture(dns=True)).count("--to-ports 15053") == 2
