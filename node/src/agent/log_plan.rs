//! What the node's log process is told: the logging configuration and where its files lie.
//!
//! It travels in the environment of the root forkservers, which take it out before anything is
//! forked. Not here: the log process (`python/thespian/system/log_process.py`).

use crate::directory::Settings;

/// Names the plan, a JSON object.
const VARIABLE: &str = "DIRECTOR_LOG_PLAN";

/// The variable for the root forkservers; `None`: actors' records go to the node's own log.
///
/// There is a log process when `thesplog.cfg` says how to log, or `thesplogd.cfg` where to; with
/// the latter alone it writes the files that Thespian writes.
pub(super) fn variable(settings: &Settings) -> Option<(String, String)> {
    let configuration = settings.log_configuration.as_ref();
    if configuration.is_none() && !settings.texts.contains_key("thesplogd.cfg") {
        return None;
    }
    let plan = serde_json::json!({
        "config": configuration.map(pyliteral::Value::repr),
        "folder": settings.log_directory,
        "path": settings.python_path,
        "node": settings.node_name,
    });
    Some((VARIABLE.to_owned(), plan.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::directory::Directory;

    fn plan(files: &[(&str, &str)]) -> Option<serde_json::Value> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let settings = Directory::at(folder.path()).settings().unwrap().settings;
        let (_name, text) = variable(&settings)?;
        Some(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn there_is_a_log_process_where_a_setting_asks_for_one() {
        assert_eq!(plan(&[]), None);
        let only_folder = plan(&[("thesplogd.cfg", "/tmp/log")]).unwrap();
        assert_eq!(only_folder["folder"], "/tmp/log");
        assert!(only_folder["config"].is_null());
        let both = plan(&[
            ("thesplogd.cfg", "/tmp/log"),
            ("thesplog.cfg", "{'version': 1, 'file': logdir + '/a'}"),
        ]);
        assert_eq!(
            both.unwrap()["config"],
            "{'version': 1, 'file': '/tmp/log/a'}"
        );
    }
}
