//! A sandbox as the control plane's answers show it.

use serde_json::{Value, json};

use super::locked;
use super::reply::set;
use super::state::{ENVD_VERSION, Sandbox};

impl Sandbox {
    /// As create, connect and resume answer.
    pub(super) fn brief(&self, domain: Option<&str>) -> Value {
        let mut brief = json!({
            "templateID": self.template,
            "sandboxID": self.id,
            "clientID": "simulator",
            "envdVersion": ENVD_VERSION,
            "domain": domain,
        });
        self.add_alias(&mut brief);
        if let Some(token) = &self.access_token {
            set(&mut brief, "envdAccessToken", token);
        }
        if let Some(token) = &self.traffic_token {
            set(&mut brief, "trafficAccessToken", token);
        }
        brief
    }

    /// As lists answer.
    pub(super) fn listed(&self) -> Value {
        let mut listed = json!({
            "templateID": self.template,
            "sandboxID": self.id,
            "clientID": "simulator",
            "startedAt": self.started.to_string(),
            "endAt": self.ends().to_string(),
            "cpuCount": 2,
            "memoryMB": 512,
            "diskSizeMB": 1024,
            "metadata": self.spec.metadata,
            "state": if self.is_running() { "running" } else { "paused" },
            "envdVersion": ENVD_VERSION,
        });
        if let Some(mounts) = &self.spec.volume_mounts {
            set(&mut listed, "volumeMounts", mounts);
        }
        self.add_alias(&mut listed);
        listed
    }

    /// As a request for this one sandbox answers.
    pub(super) fn detail(&self, domain: Option<&str>) -> Value {
        let mut detail = self.listed();
        set(&mut detail, "domain", domain);
        set(&mut detail, "allowInternetAccess", self.spec.allow_internet_access);
        set(&mut detail, "network", &*locked(&self.network));
        let auto_resume = self.spec.auto_resume.as_ref().and_then(|config| config.get("enabled"));
        let lifecycle = json!({
            "autoResume": auto_resume == Some(&Value::Bool(true)),
            "onTimeout": if self.spec.auto_pause { "pause" } else { "kill" },
        });
        set(&mut detail, "lifecycle", lifecycle);
        if let Some(token) = &self.access_token {
            set(&mut detail, "envdAccessToken", token);
        }
        detail
    }

    fn add_alias(&self, value: &mut Value) {
        if let Some(alias) = &self.alias {
            set(value, "alias", alias);
        }
    }
}
