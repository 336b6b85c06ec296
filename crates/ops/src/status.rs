//! What `/status` says: each upstream in a line of JSON.

use serde_json::{Value, json};

use crate::fleet::Fleet;

/// The fleet as it is now.
pub fn of(fleet: &Fleet) -> Value {
    let upstreams = fleet.present().map(|u| {
        let gauges = u.gauges();
        json!({
            "name": u.spec.name,
            "url": u.spec.target.base_url(),
            "variant": u.spec.variant,
            "weight": u.spec.weight,
            "health": u.state().name(),
            "ejected": u.ejected().map(|r| r.name()),
            "in_flight": u.in_flight(),
            "running": gauges.running,
            "waiting": gauges.waiting,
            "kv_usage": gauges.kv_usage,
        })
    });
    json!({"upstreams": upstreams.collect::<Vec<_>>()})
}
