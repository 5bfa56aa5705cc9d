#!/usr/bin/env python3
"""Renders the chart to the manifests in this folder. With --check, reports whether they are current.

    python3 -m venv /tmp/helm && /tmp/helm/bin/pip install helm-python-sdk==0.2.2 kubernetes-validate==1.37.0
    /tmp/helm/bin/python deploy/kubernetes/render.py [--check]

Every manifest is also checked against the schemas of Kubernetes' API, strictly; KEDA's own kinds have none there.
"""
import pathlib
import sys

import helm_python as helm
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
CHART = HERE.parent / "helm" / "graft"
GPUS = [
    {
        "name": "gpus", "replicas": 1, "minReplicas": 0, "maxReplicas": 8, "slots": 4, "maxChats": 16, "threads": 8,
        "gpus": 1, "homeSize": "200Gi", "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "resources": {"requests": {"cpu": "8", "memory": "64Gi"}, "limits": {"memory": "64Gi"}},
    }
]
TLS = {"tlsSecret": "graft-gateway-tls", "caConfigMap": "graft-ca", "service": {"type": "LoadBalancer", "annotations": {"a": "b"}}}
INGRESS = {"enabled": True, "className": "nginx", "tlsSecret": "graft-tls"}
# Without Helm, nothing runs hooks, and a Job cannot be applied again with another image. So the first pod migrates.
NO_HOOK = {"api": {"migrateFirst": False}}
# File and values. The first three are in the repository; the last is only checked.
CASES = {
    "graft.yaml": NO_HOOK,
    "graft-keda.yaml": {**NO_HOOK, "scaling": {"kind": "external"}},
    "graft-gpus-prometheus.yaml": {**NO_HOOK, "scaling": {"kind": "prometheus"}, "pools": GPUS, "gateway": TLS, "ingress": INGRESS},
    None: {"api": {"blobsClaim": "blobs"}, "image": {"pullSecrets": ["registry"]}, "networkPolicy": {"enabled": False}},
}
HEADER = "# Rendered from deploy/helm/graft by deploy/kubernetes/render.py: change it there.\n"


def main() -> int:
    stale = []
    problems = helm.lint(str(CHART))["errors"]
    for problem in problems or []:
        print("lint:", problem)
    for file, values in CASES.items():
        with helm.Chart.load(str(CHART)) as chart:
            rendered = chart.render(values, name="graft", namespace="graft")
        # Release and namespace are "graft" in the manifests.
        parts = [text.strip() for name, text in sorted(rendered.items()) if name.endswith(".yaml") and text.strip()]
        documents = [d for part in parts for d in yaml.safe_load_all(part) if d]
        for document in documents:
            if document["apiVersion"].startswith("keda.sh/"):
                continue
            kubernetes_validate.validate(document, "1.30", strict=True)
        if file is None:
            continue
        text = HEADER + "\n".join(part if part.startswith("---") else "---\n" + part for part in parts) + "\n"
        target = HERE / file
        if "--check" not in sys.argv:
            target.write_text(text)
        elif not target.exists() or target.read_text() != text:
            stale.append(file)
        print(f"{file}: {len(documents)} objects are valid")
    for file in stale:
        print(f"{file} is not current: run render.py")
    return 1 if stale or problems else 0


sys.exit(main())
