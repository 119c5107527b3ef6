//! E-mail addresses: lower case, composed, with the domain as the DNS knows it.
//!
//! RFC 5321 leaves the case of the local part to the receiving host and every large provider folds
//! it, so it is folded here. A look-alike letter of another script is another mailbox: told, never
//! folded. Tags and dots that a provider ignores are for the aliases, not for this form.
//! Quotes that RFC 5321 does not need are taken off: `"alice"@example.com` is Alice's mailbox.

use std::{borrow::Cow, net::IpAddr};

use idna::AsciiDenyList;
use unicode_normalization::{UnicodeNormalization, is_nfc};

mod fold;
mod reserved;

pub(super) use self::fold::{domains, fold, home, kin};
pub use self::reserved::{is_freemail, is_public_suffix};

/// An address as it is compared.
pub(super) struct Address {
    /// `local@domain`, the domain in ASCII.
    pub(super) canonical: String,
    /// What version 1 made of it, where that was another form.
    pub(super) former: Option<String>,
    /// Whether one name in it mixes ASCII letters with Greek or Cyrillic ones.
    pub(super) mixes_scripts: bool,
}

/// The address in `text`, a bare one: no display name and no angle brackets.
pub(super) fn read(text: &str) -> Option<Address> {
    let (written, host) = text.rsplit_once('@')?;
    let local = local_part(written)?;
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(literal) => address_literal(literal)?,
        None => domain(host)?,
    };
    let local = folded(&local);
    let mixes_scripts = mixes_scripts(&local) || domain_mixes_scripts(&host);
    let former = (written.starts_with('"') && !written.contains(char::is_whitespace))
        .then(|| format!("{}@{host}", folded(written)));
    let canonical = format!("{local}@{host}");
    Some(Address {
        former: former.filter(|former| *former != canonical),
        canonical,
        mixes_scripts,
    })
}

/// The local part, without quotes that it does not need.
fn local_part(written: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = written.strip_prefix('"') else {
        let is_bare = !written.is_empty() && !written.contains(char::is_whitespace);
        return is_bare.then_some(Cow::Borrowed(written));
    };
    let mut content = String::with_capacity(written.len());
    let mut rest = quoted.strip_suffix('"')?.chars();
    while let Some(c) = rest.next() {
        content.push(match c {
            '\\' => rest.next()?,
            '"' => return None,
            c => c,
        });
    }
    if is_dot_atom(&content) {
        return Some(Cow::Owned(content));
    }
    let mut local = String::with_capacity(written.len());
    local.push('"');
    for c in content.chars() {
        if matches!(c, '"' | '\\') {
            local.push('\\');
        }
        local.push(c);
    }
    local.push('"');
    Some(Cow::Owned(local))
}

/// Whether RFC 5322 and RFC 6532 let this stand without quotes.
fn is_dot_atom(text: &str) -> bool {
    let is_atom = |c: char| {
        c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || !(c.is_ascii() || c.is_whitespace())
    };
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
}

/// The address of a mail server in place of its name (RFC 5321, 4.1.3).
fn address_literal(text: &str) -> Option<String> {
    let v6 = text
        .get(..5)
        .filter(|tag| tag.eq_ignore_ascii_case("IPv6:"))
        .and_then(|_| text.get(5..));
    match (v6.unwrap_or(text).parse::<IpAddr>().ok()?, v6) {
        (IpAddr::V6(v6), Some(_)) => Some(format!("[ipv6:{v6}]")),
        (IpAddr::V4(v4), None) => Some(format!("[{v4}]")),
        _ => None,
    }
}

/// The domain in lower-case ASCII, without the dot of the root.
///
/// `idna` keeps that dot, though `example.com.` and `example.com` are one domain.
pub(super) fn domain(domain: &str) -> Option<String> {
    let mut domain = idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::URL)
        .ok()?
        .into_owned();
    if domain.ends_with('.') {
        domain.pop();
    }
    domain
        .split('.')
        .all(|label| !label.is_empty())
        .then_some(domain)
}

/// The local part in lower case and composed.
///
/// Composed twice: a small letter may compose where the capital did not, as J with a caron.
fn folded(local: &str) -> String {
    if local.is_ascii() {
        return local.to_ascii_lowercase();
    }
    let lower = local.nfc().collect::<String>().to_lowercase();
    if is_nfc(&lower) {
        lower
    } else {
        lower.nfc().collect()
    }
}

/// Whether ASCII letters stand beside Greek or Cyrillic ones.
fn mixes_scripts(text: &str) -> bool {
    !text.is_ascii()
        && text.chars().any(|c| c.is_ascii_alphabetic())
        && text.chars().any(is_greek_or_cyrillic)
}

/// Whether one label of a domain does, as in `exаmple.com` with a Cyrillic а.
fn domain_mixes_scripts(domain: &str) -> bool {
    domain.contains("xn--")
        && idna::domain_to_unicode(domain)
            .0
            .split('.')
            .any(mixes_scripts)
}

/// The blocks of the two scripts whose letters pass for Latin ones.
const fn is_greek_or_cyrillic(c: char) -> bool {
    matches!(
        c,
        '\u{370}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{1f00}'..='\u{1fff}'
            | '\u{2de0}'..='\u{2dff}' | '\u{a640}'..='\u{a69f}'
    )
}

#[cfg(test)]
mod tests;
