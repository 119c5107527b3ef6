//! Domains that belong to the public: to ban one would ban strangers by the million.

/// Providers with whom anybody gets an address.
const FREEMAIL: &str = include_str!("freemail.txt");

/// Whether strangers share this domain because of the mail provider that it is.
pub fn is_freemail(domain: &str) -> bool {
    FREEMAIL.lines().any(|line| line == domain)
}

/// Whether strangers register their own domains under this one, as under `com` or `co.uk`.
pub fn is_public_suffix(domain: &str) -> bool {
    psl::suffix_str(domain).is_some_and(|suffix| suffix == domain)
}

#[cfg(test)]
mod tests {
    use super::{FREEMAIL, is_freemail, is_public_suffix};

    #[test]
    fn a_domain_of_the_public_is_told_from_somebodys_own() {
        for domain in ["com", "co.uk", "cz", "github.io", "xn--p1ai"] {
            assert!(is_public_suffix(domain), "{domain}");
        }
        for domain in [
            "example.com",
            "example.co.uk",
            "seznam.cz",
            "mail.example.com",
        ] {
            assert!(!is_public_suffix(domain), "{domain}");
        }
        for domain in ["gmail.com", "seznam.cz", "mail.ru", "yahoo.co.uk"] {
            assert!(is_freemail(domain), "{domain}");
        }
        assert!(!is_freemail("example.com") && !is_freemail(""));
    }

    #[test]
    fn every_freemail_domain_is_written_as_domains_are_compared() {
        assert!(FREEMAIL.starts_with("# Version "));
        for line in FREEMAIL.lines().filter(|line| !line.starts_with('#')) {
            assert_eq!(super::super::domain(line).as_deref(), Some(line));
            assert!(!is_public_suffix(line), "{line}");
        }
    }
}
