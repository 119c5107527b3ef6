//! Profiles of the command line: servers that a person asks by a short name.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// Nobody else's business: a file with secrets that others can read is worth a word.
const OTHERS_CAN_READ: u32 = 0o044;

/// A server, and who one is there; whatever is not set is as without a profile.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Address of the check listener.
    pub endpoint: Option<String>,
    /// Address of the admin listener.
    pub admin_endpoint: Option<String>,
    /// The tenant asked about.
    pub tenant: Option<String>,
    /// The credential.
    pub token: Option<String>,
    /// A file that holds the credential.
    pub token_file: Option<PathBuf>,
    /// File of the roots that vouch for the server.
    pub ca: Option<PathBuf>,
    /// The name that the server's certificate has to bear.
    pub server_name: Option<String>,
    /// File of the certificate to show.
    pub client_cert: Option<PathBuf>,
    /// File of its private key.
    pub client_key: Option<PathBuf>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Profile {
    /// The credential itself, read from its file where it is kept in one.
    pub fn credential(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.token_file else {
            return Ok(self.token.clone());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("token_file: cannot read {}", path.display()))?;
        Ok(Some(text.trim().to_owned()))
    }

    /// Paths are told from the folder of the file that names them.
    fn at_home_in(&mut self, folder: &Path) {
        let Self {
            endpoint: _,
            admin_endpoint: _,
            tenant: _,
            token: _,
            token_file,
            ca,
            server_name: _,
            client_cert,
            client_key,
        } = self;
        for path in [token_file, ca, client_cert, client_key]
            .into_iter()
            .flatten()
        {
            *path = folder.join(&*path);
        }
    }
}

/// What a file of profiles holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

/// All profiles there are.
#[derive(Debug)]
pub struct Profiles {
    /// Where they are written, whether or not the file is there.
    pub path: PathBuf,
    /// The one used where none is named.
    pub default: Option<String>,
    /// Each by its name.
    pub all: BTreeMap<String, Profile>,
    /// What is worth a word though it stops nobody.
    pub warning: Option<String>,
}

impl Profiles {
    /// Reads a file of profiles, by default the one in the person's own configuration; that one need
    /// not be there.
    pub fn read(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = named.map_or_else(usual_path, |path| Some(path.to_owned()));
        let mut profiles = Self {
            path: path.unwrap_or_default(),
            default: None,
            all: BTreeMap::new(),
            warning: None,
        };
        let shown = profiles.path.display().to_string();
        if named.is_none() && !profiles.path.is_file() {
            return Ok(profiles);
        }
        let text = std::fs::read_to_string(&profiles.path)
            .with_context(|| format!("cannot read the profiles in {shown}"))?;
        let Written { default, profile } = toml::from_str(&text).map_err(|error| {
            // The line itself may be the one with the secret.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            anyhow::anyhow!("{shown}, line {line}: {}", error.message())
        })?;
        (profiles.default, profiles.all) = (default, profile);
        let folder = profiles.path.parent().unwrap_or(Path::new("")).to_owned();
        for (name, profile) in &mut profiles.all {
            let wrong = match profile {
                Profile {
                    token: Some(_),
                    token_file: Some(_),
                    ..
                } => Some("token and token_file exclude each other"),
                Profile {
                    client_cert: Some(_),
                    client_key: None,
                    ..
                }
                | Profile {
                    client_cert: None,
                    client_key: Some(_),
                    ..
                } => Some("client_cert and client_key go together"),
                Profile { .. } => None,
            };
            if let Some(wrong) = wrong {
                bail!("{shown}: profile `{name}`: {wrong}");
            }
            profile.at_home_in(&folder);
        }
        if let Some(default) = &profiles.default {
            ensure!(
                profiles.all.contains_key(default),
                "{shown}: there is no profile `{default}`, which is said to be the default"
            );
        }
        profiles.warning = profiles.too_open();
        Ok(profiles)
    }

    /// The profile of this name, else the default one, if there is one.
    pub fn choose(&self, named: Option<&str>) -> anyhow::Result<Option<(&str, &Profile)>> {
        let Some(name) = named.or(self.default.as_deref()) else {
            return Ok(None);
        };
        let found = self.all.get_key_value(name);
        let (name, profile) = found.with_context(|| {
            let path = self.path.display();
            if self.all.is_empty() {
                return format!("there is no profile `{name}`: {path} holds none");
            }
            let all: Vec<_> = self.all.keys().map(String::as_str).collect();
            let all = all.join(", ");
            format!("there is no profile `{name}` in {path}, only {all}")
        })?;
        Ok(Some((name, profile)))
    }

    fn too_open(&self) -> Option<String> {
        let inside = self.all.values().any(|profile| profile.token.is_some());
        let secret = inside.then_some(&self.path);
        let beside = self
            .all
            .values()
            .filter_map(|profile| profile.token_file.as_ref());
        let open = secret.into_iter().chain(beside).find(|path| {
            let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
            mode.is_ok_and(|mode| mode & OTHERS_CAN_READ != 0)
        })?;
        let open = open.display();
        Some(format!(
            "warning: {open} holds a credential and others can read it: `chmod 600 {open}`"
        ))
    }
}

/// Where a person's profiles are: in `$XDG_CONFIG_HOME`, else in `~/.config`.
#[expect(clippy::disallowed_methods, reason = "this is the one room that may")]
fn usual_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")))?;
    Some(folder.join("bancheck").join("profiles.toml"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(text: &str, mode: u32) -> (tempfile::TempDir, anyhow::Result<Profiles>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let read = Profiles::read(Some(&path));
        (folder, read)
    }

    const TWO: &str = "default = 'here'\n[profile.here]\ntenant = 'acme'\n\
        [profile.there]\nendpoint = 'https://bans.example:50051'\ntoken_file = 'there.token'\n";

    #[test]
    fn a_profile_is_found_by_its_name_or_for_being_the_default() {
        let (folder, read) = written(TWO, 0o600);
        let profiles = read.unwrap();
        assert_eq!(profiles.choose(None).unwrap().unwrap().0, "here");
        let (_, there) = profiles.choose(Some("there")).unwrap().unwrap();
        assert_eq!(
            there.token_file.as_deref(),
            Some(folder.path().join("there.token").as_path()),
            "beside the file that names it"
        );
        assert!(there.credential().is_err(), "it is not there");
        fs::write(folder.path().join("there.token"), "bk_1_x\n").unwrap();
        assert_eq!(there.credential().unwrap().as_deref(), Some("bk_1_x"));
        let wrong = profiles.choose(Some("nowhere")).unwrap_err().to_string();
        assert!(wrong.contains("only here, there"), "{wrong}");
    }

    #[test]
    fn what_is_not_understood_is_refused_without_showing_a_secret() {
        let secret = "hush";
        for (text, why) in [
            ("[profile.a]\nendpont = 'x'", "endpont"),
            ("profiles = 1", "profiles"),
            ("[profile.a]\ntoken = hush", "line 2"),
            ("[profile.a]\ntoken = 'hush'\ntoken_file = 'x'", "exclude"),
            ("[profile.a]\nclient_cert = 'x'", "go together"),
            ("default = 'b'\n[profile.a]", "`b`"),
        ] {
            let error = format!("{:#}", written(text, 0o600).1.unwrap_err());
            assert!(error.contains(why), "{why} in {error}");
            assert!(!error.contains(secret), "{error}");
        }
        let (_folder, read) = written("[profile.a]\ntoken = 'hush'", 0o600);
        assert!(!format!("{:?}", read.unwrap()).contains(secret));
    }

    #[test]
    fn a_credential_that_others_can_read_is_worth_a_word() {
        let token = "[profile.a]\ntoken = 'x'";
        let warned = |text, mode| written(text, mode).1.unwrap().warning.is_some();
        assert!(warned(token, 0o644) && warned(token, 0o640));
        assert!(!warned(token, 0o600));
        assert!(!warned("[profile.a]\ntenant = 'x'", 0o644), "no secret");
    }
}
