"""Imports every module of a generated client, and uses it against a server. Prints what it got as JSON."""
import importlib
import json
import os
import pkgutil
import sys
from io import BytesIO

sys.path.insert(0, sys.argv[1])
import graft_client  # noqa: E402

modules = [one.name for one in pkgutil.walk_packages(graft_client.__path__, "graft_client.")]
for name in modules:
    importlib.import_module(name)

from graft_client.api.answers import responses_get  # noqa: E402
from graft_client.api.files import files_content, files_upload  # noqa: E402
from graft_client.api.fine_tuning import jobs_create, jobs_get, jobs_list  # noqa: E402
from graft_client.api.health import health_alive  # noqa: E402
from graft_client.api.models import archives_get, models_list  # noqa: E402
from graft_client.models import Error, FilesUploadBody, FilesUploadBodyPurpose, JobsCreateBody  # noqa: E402
from graft_client.types import File  # noqa: E402

url, lines = os.environ["GRAFT_URL"], sys.argv[2].encode()
client = graft_client.AuthenticatedClient(base_url=url, token=os.environ["GRAFT_API_KEY"])
purpose = FilesUploadBodyPurpose("fine-tune")
upload = FilesUploadBody(file=File(payload=BytesIO(lines), file_name="chats.jsonl"), purpose=purpose)
file = files_upload.sync(client=client, body=upload)
content = files_content.sync(file.id, client=client)
body = JobsCreateBody.from_dict({"model": "tiny", "training_file": file.id, "peft": {"peft_type": "LORA", "r": 4}})
job = jobs_create.sync(client=client, body=body)
missing = [one.sync("none", client=client) for one in (jobs_get, archives_get, responses_get)]
print(json.dumps({
    "modules": len(modules) > 800,
    "alive": health_alive.sync(client=graft_client.Client(base_url=url)).status,
    "same_bytes": content.payload.read() == lines,
    "status": job.status,
    "same_job": jobs_get.sync(job.id, client=client).id == job.id,
    "listed": [one.id == job.id for one in jobs_list.sync(client=client, limit=1).data],
    "models": [one.id for one in models_list.sync(client=client).data],
    "missing": [[type(one) is Error, one.error.code] for one in missing],
}))
