//! Where a name ends in a warehouse: both vendors write it in snake case, each by rules of its own (protocol.md 6).
//!
//! Segment's rules are those of its Go library, RudderStack's those of its transformer with `underscoreDivideNumbers` off, its
//! default. Left out is what either does to a finished name: letter case, reserved words, a limit of its length. What becomes of an
//! event that is named like a table of the vendor's own (`users`) is published by one of them only, so nothing is foretold of it.

/// Where a name ends on each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The column or table at Segment; empty: it has no letter that is kept.
    pub segment: String,
    /// The same at RudderStack.
    pub rudderstack: String,
}

/// The column that a property of that name gets, or the table that an event of that name gets. Members of an object in a property
/// are one name with it, joined by `_`.
#[must_use]
pub fn columns(name: &str) -> Column {
    Column { segment: escaped(segment_snake(name)), rudderstack: escaped(rudderstack_snake(name)) }
}

impl Column {
    /// Whether both sides write it alike.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.segment == self.rudderstack
    }
}

/// Neither vendor's names begin with a digit.
fn escaped(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// A word is capitals and digits, then small letters and digits: it ends before a capital that follows a small letter. So `HTTPResponse` is one.
fn segment_snake(name: &str) -> String {
    let bytes = name.as_bytes();
    let plain = plain_start(bytes);
    let mut out = name[..plain].to_owned();
    let mut rest = &bytes[plain..];
    if rest.first().is_some_and(u8::is_ascii_uppercase) && goes_on(&out) {
        rest = push_word(&mut out, rest);
    }
    while let Some(first) = rest.first() {
        if !first.is_ascii_alphanumeric() {
            rest = &rest[1..];
            continue;
        }
        if !out.is_empty() {
            out.push('_');
        }
        rest = push_word(&mut out, rest);
    }
    out
}

/// How much of a name is written as it should be already: small letters, digits, and single underscores between them.
fn plain_start(name: &[u8]) -> usize {
    let is_small = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_plain = |at: usize| match name[at] {
        b'_' => at > 0 && name.get(at + 1).is_some_and(is_small),
        byte => is_small(&byte),
    };
    (0..name.len()).find(|at| !is_plain(*at)).unwrap_or(name.len())
}

/// Whether a capital after that start belongs to its last word: when that has no small letter yet, as in `2FA`.
fn goes_on(start: &str) -> bool {
    let last = start.rsplit('_').next().unwrap_or_default();
    !last.bytes().any(|byte| byte.is_ascii_lowercase())
}

fn push_word<'a>(out: &mut String, name: &'a [u8]) -> &'a [u8] {
    let end = |from: usize, of: fn(&u8) -> bool| from + name[from..].iter().take_while(|byte| of(byte) || byte.is_ascii_digit()).count();
    let end = end(end(0, u8::is_ascii_uppercase), u8::is_ascii_lowercase);
    out.extend(name[..end].iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    &name[end..]
}

/// Words are found in what is left of a name when all but ASCII letters and digits parts them; underscores at its start stay.
fn rudderstack_snake(name: &str) -> String {
    let body = name.trim_start_matches('_');
    let mut out = "_".repeat(name.len() - body.len());
    let mut is_first = true;
    for part in body.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut rest = part.as_bytes();
        while !rest.is_empty() {
            let (word, after) = rest.split_at(word_end(rest));
            if !is_first {
                out.push('_');
            }
            out.extend(word.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            (rest, is_first) = (after, false);
        }
    }
    out
}

/// Where the first word of letters and digits ends: digits belong to the letters before them, else to those behind; of capitals
/// before a small letter the last begins the next word.
fn word_end(text: &[u8]) -> usize {
    let run = |from: usize, of: fn(&u8) -> bool| from + text[from..].iter().take_while(|byte| of(byte)).count();
    let capitals = run(0, u8::is_ascii_uppercase);
    let small = run(capitals, u8::is_ascii_lowercase);
    let digits = run(0, u8::is_ascii_digit);
    if digits > 0 {
        let (capitals, small) = (run(digits, u8::is_ascii_uppercase), run(digits, u8::is_ascii_lowercase));
        let capital_and_small = if capitals == digits + 1 { run(capitals, u8::is_ascii_lowercase) } else { capitals };
        // `1Ab` is one word and `1ABc` is `1AB` and `c`.
        return if small > digits { small } else { capital_and_small };
    }
    match capitals {
        0 | 1 if small > capitals => run(small, u8::is_ascii_digit),
        _ if small > capitals => capitals - 1,
        _ => run(capitals, u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_part_where_both_were_seen_to_part() {
        let table = [
            ("OAuth2 Login", "oauth2_login", "o_auth2_login"),
            ("userIDs", "user_ids", "user_i_ds"),
            ("productIDsCSV", "product_ids_csv", "product_i_ds_csv"),
            ("HTTPResponse", "httpresponse", "http_response"),
            ("x2y3Z", "x2y3_z", "x2_y3_z"),
            ("_hidden", "hidden", "_hidden"),
            ("__dbl", "dbl", "__dbl"),
        ];
        for (name, segment, rudderstack) in table {
            let column = columns(name);
            assert_eq!((column.segment.as_str(), column.rudderstack.as_str()), (segment, rudderstack), "{name}");
            assert!(!column.is_same());
        }
    }

    #[test]
    fn names_stay_together_where_both_were_seen_to_agree() {
        let table = [
            ("userID", "user_id"),
            ("iOS App Opened", "i_os_app_opened"),
            ("emailSHA256", "email_sha256"),
            ("checkoutStep2Viewed", "checkout_step2_viewed"),
            ("item_1", "item_1"),
            ("item1", "item1"),
            ("A/B Test", "a_b_test"),
            ("v1.2.3", "v1_2_3"),
            ("price$usd", "price_usd"),
            ("Order Completed", "order_completed"),
            ("   sample   2    Text   ", "sample_2_text"),
            ("2 for 1", "_2_for_1"),
            ("caf\u{e9} visited", "caf_visited"),
            ("\u{4fa1}\u{683c}", ""),
            ("", ""),
        ];
        for (name, want) in table {
            assert_eq!(columns(name), Column { segment: want.into(), rudderstack: want.into() }, "{name}");
        }
    }

    #[test]
    fn segments_library_is_followed_through_its_own_tests() {
        let table = [
            ("sample___text", "sample_text"),
            ("inviteYourCustomersAddInvites", "invite_your_customers_add_invites"),
            ("SAMPLE 2 TEXT", "sample_2_text"),
            ("___$$Base64Encode", "base64_encode"),
            ("FOO:BAR$BAZ", "foo_bar_baz"),
            ("CStringRef", "cstring_ref"),
            ("2FA enabled", "2fa_enabled"),
        ];
        for (name, want) in table {
            assert_eq!(segment_snake(name), want, "{name}");
        }
    }

    #[test]
    fn rudderstacks_words_are_those_of_its_expression() {
        let table = [
            ("1CComega", "1cc_omega"),
            ("2ndPlace", "2nd_place"),
            ("1Ab", "1ab"),
            ("ABc", "a_bc"),
            ("ABC", "abc"),
            ("ABC12d", "abc12_d"),
            ("&4yasdfa(84224_fs9##_____*3q", "4yasdfa_84224_fs9_3q"),
            ("_ome_ ga_", "_ome_ga"),
        ];
        for (name, want) in table {
            assert_eq!(rudderstack_snake(name), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_column_is_small_letters_digits_and_underscores(name in r"[A-Za-z0-9_ $.\u{e9}]{0,20}|.*") {
            let column = columns(&name);
            for text in [&column.segment, &column.rudderstack] {
                prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{} became {}", name, text);
            }
            let letters = |text: &str| text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
            prop_assert_eq!(letters(&column.segment), letters(&name), "no letter is lost");
            prop_assert_eq!(letters(&column.rudderstack), letters(&name), "no letter is lost");
        }
    }
}
