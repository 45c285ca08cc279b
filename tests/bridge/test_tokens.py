from hypothesis import assume, given
from hypothesis import strategies as st

from backstay.bridge.tokens import Credential, Scheme, admits, gateway_token, parse_authorization, target_token

KEYS = st.binary(min_size=16, max_size=64)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
GENERATIONS = st.integers(1, 2**31 - 1)


@given(KEYS, NAMES, GENERATIONS)
def test_target_token_lets_in_its_device_when_the_key_is_the_same(key, device, generation):
    found = parse_authorization(f"TargetToken {target_token(key, device, generation)}")
    assert found is not None
    assert admits(found, key, device=device, generation=generation, gateway="gw")


@given(KEYS, KEYS, NAMES, NAMES, GENERATIONS, GENERATIONS)
def test_target_token_lets_in_nobody_else_when_anything_differs(key, other_key, device, other, generation, later):
    assume((key, device, generation) != (other_key, other, later))
    credential = Credential(Scheme.TARGET, target_token(key, device, generation))
    assert not admits(credential, other_key, device=other, generation=later, gateway="gw")


@given(KEYS, NAMES, NAMES, GENERATIONS)
def test_gateway_token_is_never_a_target_token_when_names_are_chosen_badly(key, device, gateway, generation):
    assert gateway_token(key, gateway) != target_token(key, device, generation)
    credential = Credential(Scheme.GATEWAY, gateway_token(key, gateway))
    assert admits(credential, key, device=device, generation=generation, gateway=gateway)
    assert not admits(credential, key, device=device, generation=generation, gateway=f"{gateway}-2")


@given(st.none() | st.text(max_size=300))
def test_authorization_is_read_or_refused_when_it_is_anything(header):
    found = parse_authorization(header)
    assert found is None or not admits(found, b"k" * 16, device="d", generation=1, gateway="g")


def test_target_token_is_what_openssl_computes_when_it_is_asked():
    # printf 'cam-1\n1' | openssl dgst -sha256 -hmac 0123456789abcdef
    expected = "e421eddb1f6ba90b34812baf9b0186de47d5063d66e24cf15f6651acca34de67"
    assert target_token(b"0123456789abcdef", "cam-1", 1) == expected
