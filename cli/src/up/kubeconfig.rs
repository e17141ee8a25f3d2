//! The kubeconfig: for kubectl, and for Muster's other commands.

use base64::Engine as _;
use muster_wire::pki::Pair;

/// A kubeconfig with one user, who is whoever holds the file.
pub(super) fn render(server: &str, root: &Pair, user: &Pair, namespace: &str) -> String {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (ca, certificate, key) = (encode(&root.certificate), encode(&user.certificate), encode(&user.key));
    format!(
        "# Written by muster up at each start. Whoever can read it may do everything.
apiVersion: v1
kind: Config
current-context: muster
clusters:
- name: muster
  cluster:
    server: {server}
    certificate-authority-data: {ca}
contexts:
- name: muster
  context:
    cluster: muster
    user: muster
    namespace: {namespace}
users:
- name: muster
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubes_own_reader_reads_it() {
        let pair = Pair { certificate: "certificate".to_owned(), key: "key".to_owned() };
        let text = render("https://127.0.0.1:6443", &pair, &pair, "fleet");
        let read = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("muster"));
        let context = read.contexts[0].context.clone().unwrap();
        assert_eq!(context.namespace.as_deref(), Some("fleet"));
    }
}
