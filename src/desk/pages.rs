//! Page tokens: where a list goes on, sealed and bound to what was asked for (M23).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::domain::{
    keys::Seal,
    refusal::{Reason, Refusal},
};

/// How many items a page has, unless asked otherwise.
const DEFAULT_SIZE: i32 = 50;
/// How many it has at the most.
const MAX_SIZE: i32 = 1_000;

/// The size of a page that was asked for.
pub(super) fn size(asked: i32) -> Result<i64, Refusal> {
    match asked {
        0 => Ok(i64::from(DEFAULT_SIZE)),
        1.. => Ok(i64::from(asked.min(MAX_SIZE))),
        _ => {
            let message = "a page has 1 item or more; 0 stands for 50";
            Err(Refusal::of_field(
                Reason::FieldInvalid,
                "page_size",
                message,
            ))
        }
    }
}

/// A question that comes in pages: its tokens are good for no other.
pub struct Pages {
    seal: Seal,
    question: String,
    size: i64,
}

impl Pages {
    /// The pages of a question, by a text that tells it from all others.
    pub fn of(seal: Seal, question: String, size: i64) -> Self {
        Self {
            seal,
            question,
            size,
        }
    }

    /// A token that goes on after `place`, if the page that ends there is full.
    pub fn next(&self, found: usize, place: Option<Vec<u8>>) -> String {
        let full = i64::try_from(found).is_ok_and(|found| found == self.size);
        let Some(mut place) = place.filter(|_| full) else {
            return String::new();
        };
        let signature = self.seal.sign(&self.signed(&place));
        place.extend(signature);
        URL_SAFE_NO_PAD.encode(place)
    }

    /// The place that a token stands for; `None` for no token.
    pub fn place(&self, token: &str) -> Result<Option<Vec<u8>>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let mismatch = || {
            let message = "this page token belongs to another request; begin again without one";
            Refusal::of_field(Reason::PageTokenMismatch, "page_token", message)
        };
        let mut place = URL_SAFE_NO_PAD.decode(token).map_err(|_| mismatch())?;
        let at = place.len().checked_sub(8).ok_or_else(mismatch)?;
        let signature = place.split_off(at);
        if self.seal.verify(&self.signed(&place), &signature) {
            Ok(Some(place))
        } else {
            Err(mismatch())
        }
    }

    fn signed(&self, place: &[u8]) -> Vec<u8> {
        let mut text = (self.question.len() as u64).to_be_bytes().to_vec();
        text.extend(self.question.as_bytes());
        text.extend(place);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::MasterKey;

    fn pages(question: &str) -> Pages {
        Pages::of(
            MasterKey::new(&[1; 32]).seal("page"),
            question.to_owned(),
            2,
        )
    }

    #[test]
    fn m23_a_page_token_is_good_for_its_own_question_only() {
        let token = pages("active").next(2, Some(b"here".to_vec()));
        assert_eq!(
            pages("active").place(&token).unwrap(),
            Some(b"here".to_vec())
        );
        for foreign in [token.as_str(), "x", "%%%", "AAAAAAAAAAAAAAAA"] {
            let refusal = pages("inactive").place(foreign).unwrap_err();
            assert_eq!(refusal.reason, Reason::PageTokenMismatch);
        }
    }

    #[test]
    fn a_page_that_is_not_full_is_the_last() {
        assert_eq!(pages("q").next(1, Some(b"here".to_vec())), "");
        assert_eq!(pages("q").place("").unwrap(), None);
    }
}
