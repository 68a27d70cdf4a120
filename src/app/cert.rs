//! `wharf cert`: a development authority, the default certificate, and a TLS Secret for each
//! `externalCertificate` of the manifests.
//!
//! Running it again changes nothing that is still good. Keys are mode 0600 and appear whole, by
//! renaming.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::mint::{self, Authority, MintError, Pair};

#[cfg(test)]
mod tests;

/// A certificate with less time left than this is made anew.
const RENEW: Duration = Duration::from_secs(30 * 86_400);

/// Why the files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file or folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A name that is no Kubernetes name would become a path.
    #[error("{namespace:?} and {secret:?} cannot name a Secret")]
    Name {
        /// Namespace.
        namespace: String,
        /// Name.
        secret: String,
    },
    /// The names or the authority's files are bad.
    #[error("cannot make {}", path.display())]
    Mint {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MintError,
    },
}

/// A Secret that a route or a Service wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Namespace of the route or Service, and of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Hosts of the routes that name it, or names of the Services.
    pub hosts: Vec<String>,
}

/// A file, and whether it was made or kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// False when it was there and is still good.
    pub new: bool,
}

/// Makes `ca.pem`, `ca.key`, `default.pem` and `secret-NAMESPACE-NAME.yaml` files in `dir`. With
/// `force` everything is made anew.
pub fn run(dir: &Path, wanted: &[Wanted], force: bool) -> Result<Vec<Made>, CertError> {
    fs::create_dir_all(dir).map_err(|source| CertError::File { path: dir.to_owned(), source })?;
    let mut made = Vec::new();
    let (authority, fresh) = load_or_make(dir, force, &mut made)?;
    let keep = !force && !fresh;
    let names = default_names(wanted);
    let path = dir.join("default.pem");
    leaf(&authority, path, &names, keep, &mut made, |pair| {
        format!("{}{}", pair.cert_pem, pair.key_pem)
    })?;
    for want in wanted {
        let is_name = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            !text.is_empty() && text.bytes().all(allowed)
        };
        if !is_name(&want.namespace) || !is_name(&want.secret) {
            let (namespace, secret) = (want.namespace.clone(), want.secret.clone());
            return Err(CertError::Name { namespace, secret });
        }
        // A dot stands in no namespace, so two Secrets never share a file.
        let path = dir.join(format!("secret-{}.{}.yaml", want.namespace, want.secret));
        leaf(&authority, path, &want.hosts, keep, &mut made, |pair| secret(want, pair))?;
    }
    Ok(made)
}

fn load_or_make(
    dir: &Path,
    force: bool,
    made: &mut Vec<Made>,
) -> Result<(Authority, bool), CertError> {
    let (cert_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
    if let (false, Some(cert), Some(key)) = (force, read(&cert_path)?, read(&key_path)?)
        && is_good(&cert, &[])
    {
        let authority = Authority::from_pem(&cert, &key)
            .map_err(|source| CertError::Mint { path: key_path.clone(), source })?;
        made.extend([cert_path, key_path].map(|path| Made { path, new: false }));
        return Ok((authority, false));
    }
    let authority = mint::authority("wharf development CA")
        .map_err(|source| CertError::Mint { path: cert_path.clone(), source })?;
    // The key first: a certificate without its key would be kept for ever.
    write(&key_path, &authority.pair().key_pem, 0o600)?;
    write(&cert_path, &authority.pair().cert_pem, 0o644)?;
    made.extend([cert_path, key_path].map(|path| Made { path, new: true }));
    Ok((authority, true))
}

fn leaf(
    authority: &Authority,
    path: PathBuf,
    names: &[String],
    keep: bool,
    made: &mut Vec<Made>,
    text: impl Fn(&Pair) -> String,
) -> Result<(), CertError> {
    let good = keep && read(&path)?.is_some_and(|have| is_good(&have, names));
    if !good {
        let pair = authority
            .leaf(names)
            .map_err(|source| CertError::Mint { path: path.clone(), source })?;
        write(&path, &text(&pair), 0o600)?;
    }
    made.push(Made { path, new: !good });
    Ok(())
}

/// Names of the default certificate: the local ones, the documentation's, and a wildcard beside
/// each host, so that a new route of the same domain is covered.
fn default_names(wanted: &[Wanted]) -> Vec<String> {
    let mut names: Vec<String> =
        ["localhost", "*.localhost", "*.example.com", "*.apps.example.com"]
            .map(str::to_owned)
            .into();
    names.extend(["127.0.0.1", "::1"].map(str::to_owned));
    // Names of Services are for pods.
    let hosts = wanted.iter().flat_map(|want| &want.hosts).filter(|host| !is_of_service(host));
    // A wildcard over a whole top-level domain is refused by every client.
    let wildcards = hosts
        .filter_map(|host| host.split_once('.'))
        .filter(|(_, rest)| rest.contains('.'))
        .map(|(_, rest)| format!("*.{rest}"));
    names.extend(wildcards);
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn is_of_service(host: &str) -> bool {
    [".svc", ".svc.cluster.local"].iter().any(|end| host.ends_with(end))
}

/// A kubernetes.io/tls Secret.
fn secret(want: &Wanted, pair: &Pair) -> String {
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "# Made by `wharf cert` for development. Not for other use.\napiVersion: v1\nkind: Secret\n\
         type: kubernetes.io/tls\nmetadata:\n  name: {}\n  namespace: {}\nstringData:\n  \
         tls.crt: |\n{}  tls.key: |\n{}",
        yaml_string(&want.secret),
        yaml_string(&want.namespace),
        indented(&pair.cert_pem),
        indented(&pair.key_pem),
    )
}

/// JSON strings are YAML strings; the names come from manifests and may be anything.
fn yaml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// True when `text` holds a certificate that lasts a while and covers `names`.
fn is_good(text: &str, names: &[String]) -> bool {
    let unindented: String = text.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let Ok(der) = rustls_pki_types::CertificateDer::from_pem_slice(unindented.as_bytes()) else {
        return false;
    };
    let Ok((_, cert)) = X509Certificate::from_der(&der) else { return false };
    let later = (SystemTime::now() + RENEW).duration_since(SystemTime::UNIX_EPOCH);
    let later = later.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
    let lasts = later.is_some_and(|later| cert.validity().not_after.timestamp() > later);
    lasts && covers(&cert, names)
}

fn covers(cert: &X509Certificate<'_>, names: &[String]) -> bool {
    use x509_parser::extensions::GeneralName;
    let Ok(alternative) = cert.subject_alternative_name() else { return false };
    let have: Vec<String> = alternative
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes)
                    .ok()
                    .map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
                _ => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
            },
            _ => None,
        })
        .collect();
    names.iter().all(|name| have.contains(name))
}

fn read(path: &Path) -> Result<Option<String>, CertError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file of `mode` beside `path` and renames it, so that a reader sees all or nothing. The
/// name starts with a dot: a watcher of the folder leaves it alone.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let attempt = || {
        let mut options = fs::OpenOptions::new();
        // Exclusive: a file or link planted under this name is never written through.
        let mut file = options.write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    attempt().map_err(|source| {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&beside);
        CertError::File { path: path.to_owned(), source }
    })
}
