//! `POST /cluster/scale`: how large somebody wants the cluster.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::report::timestamp;
use super::{Operate, Wish};
use crate::backplane::RegistryError;
use crate::cluster::Member;

/// The topic on which wishes are told, below the prefix of all subjects.
const TOLD: &str = "scale";
/// What the webhook gets to answer.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    pub action: Action,
    /// One more or fewer than there are when not given.
    #[serde(default)]
    pub target_instances: Option<usize>,
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    ScaleUp,
    ScaleDown,
    Maintain,
}

/// What follows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaled {
    accepted: bool,
    current_instances: usize,
    desired_instances: usize,
    /// Nodes that were told to let go of their clients; stop them once they have none.
    draining: Vec<String>,
    /// Whether the configured webhook took it; `null` where there is none.
    webhook: Option<bool>,
}

/// Why nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    #[error("{0}")]
    Contradiction(String),
    #[error("targetInstances: {wanted} is not between scaling.min_nodes ({least}) and scaling.max_nodes ({most})")]
    OutOfBounds { wanted: usize, least: usize, most: usize },
    #[error("the wish may not be recorded: {0}")]
    Registry(#[from] RegistryError),
}

impl Operate {
    /// Records the wish, tells who starts nodes of it, and on the way down has the least loaded nodes let go of their clients.
    ///
    /// # Errors
    /// When the wish contradicts itself or the configuration, or cannot be recorded.
    pub async fn scale(self: &Arc<Self>, scale: Scale) -> Result<Scaled, ScaleError> {
        let serving = self.serving();
        let target = self.target(&scale, serving.len())?;
        let wish = Wish {
            target_instances: target,
            reason: scale.reason,
            asked_at: self.cluster.name().to_owned(),
            timestamp: timestamp(),
        };
        self.record(&wish).await?;
        info!(from = serving.len(), to = target, reason = wish.reason, "the cluster is to have another size");
        let current = serving.len();
        let mut draining = Vec::new();
        for node in self.superfluous(serving, target) {
            match self.drain(&node, false).await {
                Ok(()) => draining.push(node),
                Err(error) => warn!(node, %error, "a node that should go does not drain"),
            }
        }
        let webhook = self.tell(&wish, current, &draining).await;
        Ok(Scaled { accepted: true, current_instances: current, desired_instances: target, draining, webhook })
    }

    fn target(&self, scale: &Scale, current: usize) -> Result<usize, ScaleError> {
        let target = scale.target_instances.unwrap_or(match scale.action {
            Action::ScaleUp => current + 1,
            Action::ScaleDown => current.saturating_sub(1),
            Action::Maintain => current,
        });
        let contradicts = match scale.action {
            Action::ScaleUp => target < current,
            Action::ScaleDown => target > current,
            Action::Maintain => target != current,
        };
        if contradicts {
            let why = format!("targetInstances: {target} contradicts the action: {current} nodes serve");
            return Err(ScaleError::Contradiction(why));
        }
        let (least, most) = (self.options.min_nodes, self.options.max_nodes);
        if !(least..=most).contains(&target) {
            return Err(ScaleError::OutOfBounds { wanted: target, least, most });
        }
        Ok(target)
    }

    /// The nodes that are too many: those with the fewest clients, this one last.
    fn superfluous(&self, mut serving: Vec<Member>, target: usize) -> Vec<String> {
        let clients = |member: &Member| member.load.as_ref().map_or(0, |load| load.work.clients);
        serving.sort_by_key(|member| (member.entry.process == self.cluster.process(), clients(member)));
        let surplus = serving.len().saturating_sub(target);
        serving.into_iter().take(surplus).map(|member| member.entry.name).collect()
    }

    /// Tells who starts and stops nodes, on NATS and by the webhook.
    async fn tell(&self, wish: &Wish, current: usize, draining: &[String]) -> Option<bool> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Told<'a> {
            #[serde(flatten)]
            wish: &'a Wish,
            current_instances: usize,
            draining: &'a [String],
        }
        let told = serde_json::to_vec(&Told { wish, current_instances: current, draining });
        let told = told.expect("a wish has only fields that JSON knows");
        if let Err(error) = self.backplane.broadcast().tell(TOLD, told.clone().into()).await {
            warn!(%error, "the wished size is recorded, but was not told on the backplane");
        }
        let url = self.options.webhook.clone()?;
        let request =
            self.http.post(url).timeout(WEBHOOK_TIMEOUT).header("content-type", "application/json").body(told);
        let answered = request.send().await.and_then(reqwest::Response::error_for_status);
        // The address may hold a secret.
        let answered = answered.map_err(reqwest::Error::without_url);
        if let Err(error) = &answered {
            warn!(%error, "the scaling webhook failed");
        }
        Some(answered.is_ok())
    }
}
