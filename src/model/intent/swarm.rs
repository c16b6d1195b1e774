//! What Swarm mode says of a task's container, in the labels that it puts there.

use super::Container;

const SERVICE: &str = "com.docker.swarm.service.name";
const TASK: &str = "com.docker.swarm.task.name";
const TASK_ID: &str = "com.docker.swarm.task.id";

/// A task of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// The service's name.
    pub service: String,
    /// Its place among the service's replicas, the same for all tasks that follow each other there; the node's identifier
    /// where each node has one.
    pub slot: String,
}

impl Container {
    /// The task of Swarm's that it is, if it is one.
    pub fn task(&self) -> Option<Task> {
        let label = |key| self.labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let (service, name, id) = (label(SERVICE)?, label(TASK)?, label(TASK_ID)?);
        // SERVICE.SLOT.ID, and a service's name may have dots.
        let slot = name.strip_prefix(service)?.strip_prefix('.')?.strip_suffix(id)?.strip_suffix('.')?;
        let is_plain = !slot.is_empty() && slot.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_plain.then(|| Task { service: service.to_owned(), slot: slot.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, task: &str, id: &str) -> Container {
        let labels = [(SERVICE, service), (TASK, task), (TASK_ID, id)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Container { labels: labels.into(), ..Container::default() }
    }

    #[test]
    fn a_task_has_the_slot_of_its_name() {
        let task = |service: &str, slot: &str| Some(Task { service: service.into(), slot: slot.into() });
        assert_eq!(container("web", "web.1.x9", "x9").task(), task("web", "1"));
        assert_eq!(container("shop.web", "shop.web.12.x9", "x9").task(), task("shop.web", "12"));
        assert_eq!(container("all", "all.k3node.x9", "x9").task(), task("all", "k3node"));
    }

    #[test]
    fn what_does_not_fit_together_is_no_task() {
        for (service, name, id) in [
            ("", "", ""),
            ("web", "web.1.x9", ""),
            ("web", "web.1.x9", "y"),
            ("web", "db.1.x9", "x9"),
            ("web", "web.x9", "x9"),
            ("web", "web..x9", "x9"),
            ("web", "web.1/2.x9", "x9"),
            ("web", "web.1.2.x9", "x9"),
        ] {
            assert_eq!(container(service, name, id).task(), None, "{name}");
        }
        assert_eq!(Container::default().task(), None);
    }
}
