//! Ids made from text.

use md5::{Digest, Md5};
use uuid::{Builder, Variant, Version};

/// The MD5 of a text as a number, to know a messageId again without keeping it.
pub(super) fn digest(text: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(text.as_bytes()).into())
}

/// RudderStack's `rudderId`: the MD5 of `userId:anonymousId` dressed as a version 4 UUID (protocol.md 2.4).
pub(super) fn rudder_id(user_id: &str, anonymous_id: &str) -> String {
    let bytes = digest(&format!("{user_id}:{anonymous_id}")).to_be_bytes();
    Builder::from_bytes(bytes).with_variant(Variant::RFC4122).with_version(Version::Random).into_uuid().to_string()
}

/// A fresh random id, as both vendors give to events without a messageId.
pub(super) fn fresh() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rudder_id_is_the_md5_dressed_as_a_uuid() {
        assert_eq!(format!("{:032x}", digest("")), "d41d8cd98f00b204e9800998ecf8427e");
        let plain = format!("{:032x}", digest("u:a"));
        let dressed = rudder_id("u", "a").replace('-', "");
        assert_eq!(dressed.len(), 32);
        assert_eq!(dressed.as_bytes()[12], b'4');
        assert!(b"89ab".contains(&dressed.as_bytes()[16]));
        assert_eq!((&dressed[..12], &dressed[13..16], &dressed[17..]), (&plain[..12], &plain[13..16], &plain[17..]));
    }
}
