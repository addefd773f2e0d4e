//! The query of an address, as pixels use it.

/// Its pairs, decoded: `+` is a space, `%xx` a byte; bytes that are no UTF-8 are replaced, broken escapes stay.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (bytes[at], escaped) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (plain, _) => {
                out.push(plain);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_broken_escapes_stay() {
        let read: Vec<_> = pairs("a=1&b=x+y%20z&c&&d=%zz%4&e=%C3%A9").collect();
        let want = [("a", "1"), ("b", "x y z"), ("c", ""), ("d", "%zz%4"), ("e", "\u{e9}")];
        assert_eq!(read, want.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
