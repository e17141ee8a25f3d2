//! The TLS door: certificates are identities.

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::door::Door;
use crate::support::server;

async fn client(kubeconfig: serde_json::Value) -> kube::Client {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

#[tokio::test]
async fn a_client_certificate_says_who_asks() {
    let door = Door::open(server().await).await;
    let anonymous = client(door.kubeconfig("", &[])).await;
    assert!(anonymous.apiserver_version().await.unwrap().git_version.starts_with("v1.34"));
    assert!(anonymous.list_core_api_versions().await.is_err());
    let alice = client(door.kubeconfig("alice", &["system:masters"])).await;
    let found = kube::discovery::Discovery::new(alice).run_aggregated().await.unwrap();
    assert!(found.has_group("demo.example.com"));
    door.close().await;
}
