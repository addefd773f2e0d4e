//! The lines that make each runtime trust the local CA. No single variable reaches every client.

use super::certs_flags::Runtime;
use crate::tls::{Exported, Part, Root, Standing};

/// What has to be written for it.
pub const fn parts(runtime: Runtime) -> &'static [Part] {
    match runtime {
        Runtime::Node => &[Part::Roots],
        Runtime::Python | Runtime::Go | Runtime::Ruby | Runtime::Php | Runtime::Curl => &[Part::Bundle],
        Runtime::Java => &[Part::Keystore],
        Runtime::Debian | Runtime::Alpine | Runtime::Browser => &[Part::EachRoot],
        Runtime::K8s => &[Part::ConfigMap],
    }
}

/// What to do with what was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The runtime, as the command line has it.
    pub name: &'static str,
    /// Lines that are no environment: commands, other files, comments.
    pub steps: Vec<String>,
    /// The environment of the app.
    pub env: Vec<(&'static str, String)>,
}

impl Recipe {
    /// For this runtime.
    pub fn of(runtime: Runtime, exported: &Exported, standing: &Standing) -> Self {
        let bundle = exported.bundle.display().to_string();
        let with = |names: &[&'static str]| names.iter().map(|name| (*name, bundle.clone())).collect::<Vec<_>>();
        let (name, steps, env) = match runtime {
            Runtime::Node => ("node", vec![], vec![("NODE_EXTRA_CA_CERTS", exported.roots.display().to_string())]),
            // requests reads the one, the standard library and httpx the other.
            Runtime::Python => ("python", vec![], with(&["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])),
            Runtime::Go => ("go", vec![], with(&["SSL_CERT_FILE"])),
            Runtime::Ruby => ("ruby", vec![], with(&["SSL_CERT_FILE"])),
            Runtime::Php => ("php", php(&bundle), with(&["SSL_CERT_FILE", "CURL_CA_BUNDLE"])),
            Runtime::Java => ("java", vec![], vec![("JAVA_TOOL_OPTIONS", java(&exported.keystore.display().to_string()))]),
            Runtime::Curl => ("curl", vec![format!("# or, for one call: curl --cacert {}", quoted(&bundle))], with(&["CURL_CA_BUNDLE"])),
            Runtime::Debian => {
                ("debian", system(exported, "apt-get update && apt-get install -y --no-install-recommends ca-certificates"), vec![])
            }
            Runtime::Alpine => ("alpine", system(exported, "apk add --no-cache ca-certificates"), vec![]),
            Runtime::Browser => ("browser", browser(exported, standing), vec![]),
            Runtime::K8s => ("k8s", pods(exported), vec![]),
        };
        Self { name, steps, env }
    }

    /// All lines, as they are printed.
    pub fn lines(&self) -> Vec<String> {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        self.steps.iter().cloned().chain(env).collect()
    }
}

/// The text as one word of a shell. Most paths are one already, and stay fit for env files, which know no quotes.
pub fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// No password: it would only have Java look at a checksum, and would make the value two words.
fn java(keystore: &str) -> String {
    format!("-Djavax.net.ssl.trustStore={keystore}")
}

fn php(bundle: &str) -> Vec<String> {
    let value = bundle.replace('"', "\\\"");
    vec![
        "# php.ini, for curl and sockets in the process:".to_owned(),
        format!("curl.cainfo=\"{value}\""),
        format!("openssl.cafile=\"{value}\""),
        "# the environment, for curl as a program:".to_owned(),
    ]
}

/// For a machine, and for an image.
fn system(exported: &Exported, install: &str) -> Vec<String> {
    let files = || exported.each_root.iter().filter_map(|path| Some((path.display().to_string(), path.file_name()?.to_str()?)));
    let mut lines = vec!["# on the machine, as root:".to_owned()];
    lines.extend(files().map(|(path, name)| format!("cp {} /usr/local/share/ca-certificates/{name}", quoted(&path))));
    lines.push("update-ca-certificates".to_owned());
    lines.push("# or in the Dockerfile, with the files beside it:".to_owned());
    lines.extend(files().map(|(_, name)| format!("COPY {name} /usr/local/share/ca-certificates/{name}")));
    lines.push(format!("RUN {install} && update-ca-certificates"));
    lines
}

fn browser(exported: &Exported, standing: &Standing) -> Vec<String> {
    let mut lines = vec!["# Chromium and Chrome, as the user who runs it:".to_owned()];
    let command =
        |database: &str, root: &Root, path: &str| format!("certutil -d {database} -A -t C,, -n segue-{} -i {}", root.short(), quoted(path));
    let each = || standing.roots.iter().zip(exported.each_root.iter().map(|path| path.display().to_string()));
    lines.extend(each().map(|(root, path)| command("\"sql:$HOME/.pki/nssdb\"", root, &path)));
    lines.push("# Firefox, with the profile's directory (about:support) in PROFILE:".to_owned());
    lines.extend(each().map(|(root, path)| command("\"sql:$PROFILE\"", root, &path)));
    lines
}

fn pods(exported: &Exported) -> Vec<String> {
    let name = Exported::CONFIG_MAP_NAME;
    let file = |path: &std::path::Path| format!("{POD_DIR}/{}", path.file_name().unwrap_or_default().to_string_lossy());
    let (roots, bundle, keystore) = (file(&exported.roots), file(&exported.bundle), file(&exported.keystore));
    let mut lines = vec![
        format!("# kubectl apply --server-side -f {}", quoted(&exported.config_map.display().to_string())),
        "# in the pod's spec:".to_owned(),
        "volumes:".to_owned(),
        format!("  - name: {name}"),
        "    configMap:".to_owned(),
        format!("      name: {name}"),
        "# in the app's container:".to_owned(),
        "volumeMounts:".to_owned(),
        format!("  - name: {name}"),
        format!("    mountPath: {POD_DIR}"),
        "    readOnly: true".to_owned(),
        "env:".to_owned(),
    ];
    let env = [
        ("NODE_EXTRA_CA_CERTS", roots),
        ("REQUESTS_CA_BUNDLE", bundle.clone()),
        ("SSL_CERT_FILE", bundle.clone()),
        ("CURL_CA_BUNDLE", bundle),
        ("JAVA_TOOL_OPTIONS", java(&keystore)),
    ];
    lines.extend(env.iter().flat_map(|(name, value)| [format!("  - name: {name}"), format!("    value: {value}")]));
    lines
}

const POD_DIR: &str = "/etc/segue-trust";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_quoted_where_they_have_to_be() {
        for (text, want) in [("/a/b-1.pem", "/a/b-1.pem"), ("/a b", "'/a b'"), ("/it's", r"'/it'\''s'"), ("$(x)", "'$(x)'"), ("", "''")] {
            assert_eq!(quoted(text), want);
        }
    }
}
