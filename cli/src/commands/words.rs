//! `muster pause`, `resume` and `approve`: say a word about a baseline's items (rules O2, O3, O7). Each makes a
//! RolloutApproval, which never changes; kubectl could create it as well.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use muster_crds::{
    ApprovedItem, BaselineReference, FieldError, KernelBaseline, PackageBaseline, RolloutApproval,
    RolloutApprovalSpec,
};
use muster_model::{ApprovalAction, BaselineKind};

use crate::arguments::WordArguments;
use crate::commands::random_name;
use crate::connect::{ConnectError, Connection, connect};
use crate::exit::ExitStatus;
use crate::printer::Printer;

/// Why the word was not said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WordError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No such baseline.
    #[error("there is no baseline {baseline} in namespace {namespace}; `kubectl get pb,kb` lists them")]
    Missing {
        /// The name asked for.
        baseline: String,
        /// Where.
        namespace: String,
    },
    /// What was named is no item.
    #[error("that is no item: {0}; write PACKAGE, PACKAGE=VERSION or PACKAGE=absent")]
    Item(FieldError),
    /// The API did not answer as it should.
    #[error("cannot {operation}")]
    Api {
        /// What was tried.
        operation: &'static str,
        source: Box<kube::Error>,
    },
}

/// Says the word.
pub(crate) async fn word(
    arguments: &WordArguments,
    action: ApprovalAction,
    printer: Printer,
) -> Result<ExitStatus, WordError> {
    let Connection { client, namespace } = connect(&arguments.client).await?;
    let failed = |operation| move |source| WordError::Api { operation, source: Box::new(source) };
    let found = named(&client, &namespace, &arguments.baseline).await.map_err(failed("read the baseline"))?;
    let Some(baseline_ref) = found else {
        return Err(WordError::Missing { baseline: arguments.baseline.clone(), namespace });
    };
    let by = whoami(&client).await.map_err(failed("ask the API who you are"))?;
    let approval = RolloutApproval {
        metadata: ObjectMeta {
            name: Some(random_name(&action.as_str().to_lowercase())),
            ..ObjectMeta::default()
        },
        spec: RolloutApprovalSpec {
            baseline_ref,
            action,
            item: arguments.item.as_deref().map(item),
            by,
            reason: arguments.reason.clone(),
        },
    };
    if let Some(error) = approval.to_model().err().and_then(|errors| errors.into_iter().next()) {
        return Err(WordError::Item(error));
    }
    let approvals: Api<RolloutApproval> = Api::namespaced(client, &namespace);
    let made = approvals
        .create(&PostParams::default(), &approval)
        .await
        .map_err(failed("create the RolloutApproval"))?;
    printer.line(effect(action, arguments, &made.metadata.name.unwrap_or_default()));
    Ok(ExitStatus::Done)
}

/// The baseline that is meant: `pb/NAME`, `kb/NAME`, or a name, which is a package baseline's where both have it.
async fn named(
    client: &Client,
    namespace: &str,
    text: &str,
) -> Result<Option<BaselineReference>, kube::Error> {
    let (kind, name) = match text.split_once('/') {
        Some(("kb", name)) => (Some(BaselineKind::KernelBaseline), name),
        Some(("pb", name)) => (Some(BaselineKind::PackageBaseline), name),
        Some(_) | None => (None, text),
    };
    let reference = |kind, uid| BaselineReference { kind, name: name.to_owned(), uid };
    if kind != Some(BaselineKind::KernelBaseline) {
        let all: Api<PackageBaseline> = Api::namespaced(client.clone(), namespace);
        if let Some(found) = all.get_opt(name).await? {
            return Ok(Some(reference(BaselineKind::PackageBaseline, found.metadata.uid)));
        }
    }
    if kind != Some(BaselineKind::PackageBaseline) {
        let all: Api<KernelBaseline> = Api::namespaced(client.clone(), namespace);
        if let Some(found) = all.get_opt(name).await? {
            return Ok(Some(reference(BaselineKind::KernelBaseline, found.metadata.uid)));
        }
    }
    Ok(None)
}

/// The user, as the API server knows them.
async fn whoami(client: &Client) -> Result<String, kube::Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    Ok(user.unwrap_or_default())
}

/// `openssl`, `openssl:amd64`, `openssl=3.0.15-1`, `telnet=absent`.
fn item(text: &str) -> ApprovedItem {
    let (package, target) = match text.split_once('=') {
        Some((package, target)) => (package, Some(target.to_owned())),
        None => (text, None),
    };
    let (package, architecture) = match package.split_once(':') {
        Some((package, architecture)) => (package, Some(architecture.to_owned())),
        None => (package, None),
    };
    ApprovedItem { package: package.to_owned(), architecture, target }
}

fn effect(action: ApprovalAction, arguments: &WordArguments, name: &str) -> String {
    let items = match &arguments.item {
        Some(item) => format!("{item} of {}", arguments.baseline),
        None => format!("everything of {}", arguments.baseline),
    };
    match action {
        ApprovalAction::Pause => {
            format!("{name}: {items} starts nowhere until `muster resume {}`", arguments.baseline)
        }
        ApprovalAction::Resume => format!("{name}: {items} goes on; failures so far count no more"),
        ApprovalAction::Approve => format!("{name}: {items} may enter the waves that ask for approval"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // rule: O7
    #[test]
    fn an_item_is_written_as_in_verdicts() {
        let read = |text| {
            let ApprovedItem { package, architecture, target } = item(text);
            (package, architecture.unwrap_or_default(), target.unwrap_or_default())
        };
        assert_eq!(read("openssl"), ("openssl".into(), String::new(), String::new()));
        assert_eq!(read("openssl:amd64=1:3.0"), ("openssl".into(), "amd64".into(), "1:3.0".into()));
    }
}
