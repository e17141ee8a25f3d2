//! What people said of rollouts: deleted once it says nothing any more.

use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use muster_crds::RolloutApproval;

use crate::read;
use crate::write::{Outcome, Writer};

impl Writer {
    /// Deletes what somebody said, if it still is what was seen: another word under its name stays.
    pub(crate) async fn delete_approval(&self, seen: &muster_model::RolloutApproval) -> Outcome {
        let name = seen.name.as_str();
        let Some(there) = self.api::<RolloutApproval>().get_opt(name).await? else {
            return Ok(read::approval_gone(name));
        };
        if there.to_model().as_ref() != Ok(seen) {
            return Ok(read::approval(there));
        }
        let preconditions = Preconditions { resource_version: there.resource_version(), uid: there.uid() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.delete::<RolloutApproval>(name, parameters).await
    }
}

#[cfg(test)]
mod tests {
    use kube::api::PostParams;
    use kube::{Api, Client};
    use muster_apiserver::{ApiServer, Config, Identity};
    use muster_fleet::{Change, Effect, Written};
    use serde_json::json;

    use super::*;

    async fn say(all: &Api<RolloutApproval>, action: &str) -> muster_model::RolloutApproval {
        let word = json!({
            "apiVersion": "muster.dev/v1alpha1", "kind": "RolloutApproval", "metadata": {"name": "word"},
            "spec": {
                "baselineRef": {"kind": "PackageBaseline", "name": "fix", "uid": "u"}, "action": action, "by": "test",
            },
        });
        let word = serde_json::from_value(word).unwrap();
        all.create(&PostParams::default(), &word).await.unwrap().to_model().unwrap()
    }

    // rule: A3
    #[tokio::test]
    async fn what_somebody_said_anew_under_the_name_of_an_old_word_stays() {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let definitions: Vec<_> =
            muster_crds::all_crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
        server.apply_crds(&definitions).await.unwrap();
        let all: Api<RolloutApproval> =
            Api::namespaced(Client::new(server.service(Identity::admin("test")), "default"), "default");
        // With the rights that the controller has.
        let controller = server.service(Identity::new("controller", &["muster:controller"]));
        let writer = Writer::new(Client::new(controller, "default"), "default", "test");
        let resumed = say(&all, "Resume").await;
        let clear =
            |seen: &muster_model::RolloutApproval| Effect::DeleteApproval { approval: seen.clone().into() };
        let (written, shown) = writer.write(clear(&resumed)).await;
        assert_eq!((written, shown.len()), (Written::Done, 0));
        assert!(all.get_opt("word").await.unwrap().is_none());

        let paused = say(&all, "Pause").await;
        let (written, shown) = writer.write(clear(&resumed)).await;
        assert_eq!(written, Written::Done);
        assert!(matches!(&shown[0], Change::Approval(known) if *known == paused), "{shown:?}");
        assert!(all.get_opt("word").await.unwrap().is_some(), "the pause holds");
    }
}
