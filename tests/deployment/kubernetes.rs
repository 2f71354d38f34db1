//! The manifests for Kubernetes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{assert_content, configuration, contrib, document, documents, is_understood, tool, words};
use crate::command_line::tempdir;
use crate::harness::skip;

fn container() -> Value {
    document("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn the_configuration_names_what_is_mounted() {
    let (name, yaml) = match document("kubernetes/configmap.yaml")["data"].as_object().unwrap().iter().next()
    {
        Some((name, yaml)) => (name.clone(), yaml.as_str().unwrap().to_owned()),
        None => panic!("no configuration"),
    };
    configuration(&yaml, &name);
    let container = container();
    let arguments = words(&container["args"]);
    is_understood(&arguments);
    let secrets: BTreeMap<String, Value> = documents("kubernetes/secret.yaml")
        .into_iter()
        .map(|secret| (secret["metadata"]["name"].as_str().unwrap().to_owned(), secret["stringData"].clone()))
        .collect();
    let volumes = document("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["volumes"].clone();
    let mounted = |path: &str| -> bool {
        container["volumeMounts"].as_array().unwrap().iter().any(|mount| {
            let below = path.strip_prefix(mount["mountPath"].as_str().unwrap());
            let Some(file) = below.and_then(|below| below.strip_prefix('/')) else { return false };
            let volume =
                volumes.as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            match volume["secret"]["secretName"].as_str() {
                Some(secret) => secrets[secret].get(file).is_some(),
                None => volume["configMap"]["name"] == "redis-connect-postgres" && file == name,
            }
        })
    };
    let file = arguments[arguments.iter().position(|word| *word == "-c").unwrap() + 1];
    assert!(mounted(file), "{file}");
    let paths: Vec<&str> =
        yaml.lines().filter_map(|line| line.split_once("_file: ")).map(|(_, path)| path.trim()).collect();
    assert_eq!(paths.len(), 5, "{paths:?}");
    for path in paths {
        assert!(mounted(path), "{path}");
    }
}

#[test]
fn ports_and_probes_fit() {
    let yaml = document("kubernetes/configmap.yaml")["data"]["config.yaml"].as_str().unwrap().to_owned();
    let config: Value = serde_saphyr::from_str(&yaml).unwrap();
    let listen = config["http"]["listen"].as_str().unwrap();
    let container = container();
    let port = &container["ports"][0];
    assert_eq!(listen, format!("0.0.0.0:{}", port["containerPort"]));
    let service = document("kubernetes/service.yaml");
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    assert_eq!(service["spec"]["ports"][0]["port"], port["containerPort"]);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = &container[probe]["httpGet"];
        // The replica that waits is not ready in the sense of /readyz, and must not hold up a rollout.
        assert_eq!(asked["path"], "/healthz", "{probe}");
        assert_eq!(asked["port"], port["name"], "{probe}");
        assert_eq!(asked["scheme"] == "HTTPS", config["http"].get("tls").is_some(), "{probe}");
    }
}

#[test]
fn rights_are_the_least() {
    let pod = document("kubernetes/deployment.yaml")["spec"]["template"]["spec"].clone();
    let container = container();
    for (place, expected) in [
        (&pod["automountServiceAccountToken"], Value::from(false)),
        (&pod["securityContext"]["runAsNonRoot"], true.into()),
        (&pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault".into()),
        (&container["securityContext"]["allowPrivilegeEscalation"], false.into()),
        (&container["securityContext"]["readOnlyRootFilesystem"], true.into()),
        (&container["securityContext"]["capabilities"]["drop"], serde_json::json!(["ALL"])),
        (&document("kubernetes/serviceaccount.yaml")["automountServiceAccountToken"], false.into()),
    ] {
        assert_eq!(*place, expected);
    }
    // The program ends within five seconds of a signal.
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(grace > Duration::from_secs(5));
}

#[test]
fn labels_and_names_fit() {
    let deployment = document("kubernetes/deployment.yaml");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let budget = document("kubernetes/poddisruptionbudget.yaml");
    let service = document("kubernetes/service.yaml");
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &budget["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
    ] {
        assert_eq!(selector, labels);
    }
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    assert!(budget["spec"]["minAvailable"].as_u64().unwrap() < replicas, "no node could be drained");
    let account = document("kubernetes/serviceaccount.yaml");
    assert_eq!(deployment["spec"]["template"]["spec"]["serviceAccountName"], account["metadata"]["name"]);
    let kustomization = document("kubernetes/kustomization.yaml");
    for file in words(&kustomization["resources"]) {
        assert!(contrib("kubernetes").join(file).exists(), "{file}");
    }
    assert_eq!(kustomization["images"][0]["name"], container()["image"]);
    assert_eq!(kustomization["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
}

/// Against the schemas of Kubernetes' API, each file and what kustomize makes of all.
#[test]
fn the_schemas_of_kubernetes_are_kept_to() {
    let validate = |files: &[std::path::PathBuf]| {
        tool("kubernetes-validate").map(|mut tool| tool.arg("--strict").args(files).output().unwrap())
    };
    let files = ["serviceaccount", "configmap", "secret", "deployment", "poddisruptionbudget", "service"];
    let files = files.map(|file| contrib(&format!("kubernetes/{file}.yaml")));
    let Some(output) = validate(&files) else { skip!("kubernetes-validate is not installed") };
    assert_content(&output);
    // It does look: a key that is none is told.
    let directory = tempdir("kubernetes");
    let wrong = directory.join("wrong.yaml");
    fs::write(&wrong, fs::read_to_string(&files[3]).unwrap().replace("runAsNonRoot", "runAsNonRot")).unwrap();
    assert!(!validate(std::slice::from_ref(&wrong)).unwrap().status.success());
    if let Some(mut kubectl) = tool("kubectl") {
        let made = kubectl.arg("kustomize").arg(contrib("kubernetes")).output().unwrap();
        assert_content(&made);
        let text = String::from_utf8(made.stdout).unwrap();
        assert!(text.contains("image: registry.example/redis-connect-postgres:"), "{text}");
        fs::write(&wrong, text).unwrap();
        assert_content(&validate(std::slice::from_ref(&wrong)).unwrap());
    }
    fs::remove_dir_all(directory).unwrap();
}
