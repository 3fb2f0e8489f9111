//! Applies a plan: all changes of the database in one transaction, then Kafka, then the commit.
//!
//! The transaction holds the registration lock from before planning to its end, so concurrent applies run one after the other,
//! and the second finds the first one's changes done. Every topic change is validated by Kafka before any is made, and topics are
//! changed before the commit: if Kafka fails, nothing is registered, and the next apply finds already created topics unchanged.

use std::time::Duration;

use tokio::time::Instant;

use super::broker::{Broker, BrokerError, Intent};
use super::definition::Definition;
use super::plan::{Plan, Refusal, TopicAction, VersionAction};
use super::registered::{self, RegistryError};
use crate::exit::{self, EndsCommand};
use crate::postgres::Session;
use crate::relay::route::destination::Destinations;

/// How long to wait until Kafka shows a topic change.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Interval between checks.
const SETTLE_TICK: Duration = Duration::from_millis(50);

/// Planning or applying failed; nothing was registered.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The plan has refused changes.
    #[error("{}", refused(.0))]
    Refused(Box<Plan>),
    /// The database.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Kafka.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Kafka failed after topics were changed.
    #[error("{source}; nothing was registered, but changes to {} remain: run apply again", changed.join(", "))]
    Halfway {
        /// The topics that were changed.
        changed: Vec<String>,
        /// Kafka's error.
        source: BrokerError,
    },
}

impl EndsCommand for ApplyError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => exit::REFUSED,
            Self::Registry(error) => error.exit_code(),
            Self::Broker(source) | Self::Halfway { source, .. } => source.exit_code(),
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Registry(error) => error.may_pass(),
            Self::Broker(source) | Self::Halfway { source, .. } => source.may_pass(),
        }
    }
}

fn refused(plan: &Plan) -> String {
    let count = plan.refusals().count();
    let (changes, are) = if count == 1 { ("change", "is") } else { ("changes", "are") };
    format!("{count} {changes} {are} refused; nothing was applied")
}

/// Plans, and changes nothing.
///
/// # Errors
/// The database or Kafka can't be read.
pub async fn plan(
    definitions: &[Definition],
    connection: &mut Session,
    broker: &Broker,
    destinations: &Destinations,
) -> Result<Plan, ApplyError> {
    let names: Vec<String> = definitions.iter().map(|definition| definition.name.clone()).collect();
    let registered = registered::read(connection, Some(&names)).await?;
    let topics = broker.describe(&topics(definitions)).await?;
    let mut plan = Plan::new(definitions, &registered, Some(&topics));
    plan.restrict(destinations);
    for topic in plan.topics.iter_mut().filter(|topic| topic.refusals.is_empty()) {
        match broker.change(&topic.name, &topic.action, Intent::Validate).await {
            // Planning must work without write privileges, as in checks on pull requests.
            Err(error) if error.is_denial() => topic.warnings.push(error.to_string()),
            Err(error @ BrokerError::Refused { .. }) => topic.refusals.push(Refusal::Topic(error.to_string())),
            outcome => outcome?,
        }
    }
    Ok(plan)
}

/// Applies, and returns the plan that was applied.
///
/// # Errors
/// A change is refused, or the database or Kafka failed; nothing was registered.
pub async fn apply(
    definitions: &[Definition],
    connection: &mut Session,
    broker: &Broker,
    destinations: &Destinations,
) -> Result<Plan, ApplyError> {
    registered::lock(connection).await?;
    let outcome = within(definitions, connection, broker, destinations).await;
    let end = if outcome.is_ok() { "commit" } else { "rollback" };
    let ended = connection.simple_query(end).await.map_err(RegistryError::new("end the transaction"));
    let plan = outcome?;
    ended?;
    Ok(plan)
}

async fn within(
    definitions: &[Definition],
    connection: &mut Session,
    broker: &Broker,
    destinations: &Destinations,
) -> Result<Plan, ApplyError> {
    let plan = plan(definitions, connection, broker, destinations).await?;
    if !plan.may_apply() {
        return Err(ApplyError::Refused(Box::new(plan)));
    }
    for version in &plan.versions {
        let definition = &version.definition;
        let mut status = None;
        match &version.action {
            VersionAction::Register => {
                registered::register(connection, definition).await?;
                status = definition.status.registered().filter(|status| *status != "active");
            }
            VersionAction::SetStatus { to, .. } => status = Some(*to),
            VersionAction::Unchanged | VersionAction::Draft => {}
        }
        if let Some(status) = status {
            registered::set_status(connection, &definition.name, &definition.version, status).await?;
        }
    }
    let mut changed = Vec::new();
    for topic in &plan.topics {
        match broker.change(&topic.name, &topic.action, Intent::Change).await {
            Ok(()) if topic.action != TopicAction::Unchanged => changed.push(topic.name.clone()),
            Ok(()) => {}
            Err(source) if changed.is_empty() => return Err(source.into()),
            Err(source) => return Err(ApplyError::Halfway { changed, source }),
        }
    }
    if !changed.is_empty() {
        settle(definitions, broker).await.map_err(|source| ApplyError::Halfway { changed, source })?;
    }
    Ok(plan)
}

/// Waits until Kafka shows every topic as planned: it responds before all brokers know.
async fn settle(definitions: &[Definition], broker: &Broker) -> Result<(), BrokerError> {
    let topics = topics(definitions);
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let states = broker.describe(&topics).await?;
        let plan = Plan::new(definitions, &[], Some(&states));
        let Some(behind) = plan.topics.iter().find(|topic| topic.action != TopicAction::Unchanged) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(BrokerError::Unsettled { topic: behind.name.clone() });
        }
        tokio::time::sleep(SETTLE_TICK).await;
    }
}

/// The distinct topics of all versions.
fn topics(definitions: &[Definition]) -> Vec<String> {
    let mut topics: Vec<String> = definitions.iter().map(|definition| definition.topic.clone()).collect();
    topics.sort();
    topics.dedup();
    topics
}
