//! The settings and scripts that Segment's CDN serves (protocol.md 1.9).

use serde_json::{Value, json};

/// `GET /v1/projects/<key>/settings`: the shape of protocol.md 1.9, with an `apiHost`, for a source without device-mode
/// destinations.
pub(super) fn settings(write_key: &str, api_host: &str) -> Value {
    json!({
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": api_host,
                "unbundledIntegrations": [],
                "addBundledMetadata": true,
                "maybeBundledConfigIds": {},
                "versionSettings": { "version": "4.4.7", "componentTypes": ["browser"] }
            }
        },
        "plan": {
            "track": { "__default": { "enabled": true, "integrations": {} } },
            "identify": { "__default": { "enabled": true } },
            "group": { "__default": { "enabled": true } }
        },
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": { "routingRules": [] },
        "enabledMiddleware": {},
        "metrics": { "sampleRate": 0.1 },
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
        "consentSettings": {}
    })
}

/// `GET /analytics.js/v1/<key>/analytics.min.js` and the chunks: no SDK, only a mark that the script came from here.
pub(super) fn script(path: &str) -> String {
    let path = Value::from(path);
    format!(
        "/* a stand-in for Segment's CDN: this is not analytics.js */\n(function(){{var w=typeof window==='undefined'?{{}}:window;w.__standin=w.__standin||[];w.__standin.push({path})}})();\n"
    )
}
