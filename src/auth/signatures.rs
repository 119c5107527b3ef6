//! Verifying the signatures of tokens with ring, which the rest of the program uses already.
//!
//! Only what an issuer signs with a private key: a secret that is shared would let whoever verifies
//! also sign.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{Error as Mismatch, Verifier},
};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

/// Says once with what signatures are verified; a second time does nothing.
pub(super) fn install() {
    static RING: CryptoProvider = CryptoProvider {
        signer_factory: nothing_is_signed,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    // The second server of a process finds the first one's.
    let _ = RING.install_default();
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the provider's signature asks for it"
)]
fn nothing_is_signed(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the provider's signature asks for it"
)]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let by = By::of(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    if !key.family().algorithms().contains(algorithm) {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Verifies {
        algorithm: *algorithm,
        by,
        key: key.clone(),
    }))
}

enum By {
    Rsa(&'static signature::RsaParameters),
    Point(&'static dyn VerificationAlgorithm),
}

impl By {
    fn of(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::RS256 => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Self::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Self::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Self::Point(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Self::Point(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Self::Point(&signature::ED25519),
            _ => return None,
        })
    }
}

struct Verifies {
    algorithm: Algorithm,
    by: By,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Verifies {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), Mismatch> {
        let verified = match (&self.by, self.key.kind()) {
            (By::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signed)
            }
            (By::Point(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, signed)
            }
            _ => return Err(Mismatch::new()),
        };
        verified.map_err(|_| Mismatch::new())
    }
}

impl JwtVerifier for Verifies {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a key made for this test, as base64url: its modulus, and what it signed of `header.payload`.
    const MODULUS: &str = concat!(
        "uMBathRu7k-yFqRiqwXSHXuPQCYDmQUfAdaJBunjfLpMBIS7aBg8Kl4zDrrTBQm2EB09OcWeKIPw",
        "dBitjLT20qvFCNfH6qIv2dXoeVXU4DdFsQOD03Sq9jWvfCiMIBXWS-kABJtNrVSL-MBGdf6gdivV",
        "afNBTahh2oUsCsMWFI3E6UKJ4DnMYEi8Bmd15_NmRismCsqHACVTAPl0cMzRjj7EEonPIOOY5djT",
        "_RRVz6rfI6NWUAkS_xjzpl_mk5zm378da8_b1JwBaD90LdBd-Xl5WetnXy3qDay-QTj1alHPOCiU",
        "Xei9Gc9qgXjuHtMtPKo4tHq5hC26GTCZA80wpQ",
    );
    const SIGNED: &str = concat!(
        "HhskPPKuTJJv9IoOcyO3Adj1sGlOogn3j-UJ0U5Dr0lnTsyVNY7YFg1AIgSTo-3OkVuqLoLnFUK_",
        "9q7Wt9x-CmJQAOxsQjCNaAl055YxwGAJK91qMg0wdGMa0c1mrilJPDvnp-piOEDbT9k4WLUBn6qz",
        "TRdHbOhwLFageW7msl4G4kw8mbarv-EuOjGTGUQvnkxQ6SRMIRM9RpbFgz4wc1TqSAt-pEAmRBmc",
        "zmknCExJFoJG3ebUFZBd5gVlr7EILNLsK4l8jha-a6xHbkGa2pGGzXCl9Mz4jI6hgk3SGFYYLJPc",
        "v8S4S2SlvE-lemclXT5B1SJQua3XrRMM9D6LVA",
    );

    #[test]
    fn a_signature_is_good_for_its_own_message_key_and_algorithm_only() {
        install();
        let key = DecodingKey::from_rsa_components(MODULUS, "AQAB").unwrap();
        let verifies = |message: &str, algorithm| {
            jsonwebtoken::crypto::verify(SIGNED, message.as_bytes(), &key, algorithm)
        };
        assert_eq!(verifies("header.payload", Algorithm::RS256), Ok(true));
        assert_eq!(verifies("header.Payload", Algorithm::RS256), Ok(false));
        assert_eq!(verifies("header.payload", Algorithm::RS384), Ok(false));
        assert_eq!(verifies("header.payload", Algorithm::PS256), Ok(false));
        // A public key must not become a secret, nor a point of a curve.
        for other in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(verifies("header.payload", other).is_err(), "{other:?}");
        }
    }
}
