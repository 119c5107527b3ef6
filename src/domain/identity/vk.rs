//! VK ids: a signed number, whichever of its spellings an admin pasted.
//!
//! `id123` is user 123 and `club123` or `public123` community -123. A screen name can be changed
//! by its owner and is no identity.

/// The signed number that VK knows a user or, below zero, a community by.
pub(super) fn read(text: &str) -> Option<String> {
    let digits = |prefix: &str| {
        let rest = text.strip_prefix(prefix)?;
        rest.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| rest.parse::<i64>().ok())?
    };
    let id = digits("id")
        .or_else(|| {
            digits("club")
                .or_else(|| digits("public"))
                .map(|community| -community)
        })
        .or_else(|| text.parse().ok())?;
    (id != 0).then(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_vk_id_is_a_signed_number() {
        for (value, canonical) in [
            ("id123", "123"),
            ("+0123", "123"),
            ("-0123", "-123"),
            ("public5", "-5"),
        ] {
            assert_eq!(read(value).as_deref(), Some(canonical));
        }
        for value in ["durov", "id", "id-5", "club+5", "0", "99999999999999999999"] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
