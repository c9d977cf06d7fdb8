//! Digests of texts, which add up to digests of sets of them.

/// FNV-1a of 128 bits, see Fowler, Noll and Vo.
pub(super) fn digest(text: &str) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    })
}

/// Of a set, whatever its order.
pub(super) fn digest_of_all(digests: impl IntoIterator<Item = u128>) -> String {
    let sum = digests.into_iter().fold(0_u128, u128::wrapping_add);
    format!("{sum:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_digest_in_any_order() {
        let of = |texts: &[&str]| digest_of_all(texts.iter().map(|t| digest(t)));
        assert_eq!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a", "b"]), of(&["ab"]));
        assert_ne!(of(&["a"]), of(&["a", "a"]));
        assert_eq!(digest(""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    }
}
