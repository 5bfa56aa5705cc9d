"""Calls the methods of OpenAI's SDK that openai_sdk.py does not call. Each response is validated by the client.

Arguments: name of the base, file of chats, file of preferences.
"""

import contextlib
import http.server
import json
import sys
import threading

import openai
from strict_client import client, problems, requests, until, validated

base, chats, preferences = sys.argv[1:]
seen = {}

# files, in each purpose and state
with open(chats, "rb") as content:
    bytes_ = content.read()
upload = client.uploads.create(bytes=len(bytes_), filename="chats.jsonl", mime_type="application/jsonl", purpose="fine-tune")
part = client.uploads.parts.create(upload.id, data=bytes_)
file = client.uploads.complete(upload.id, part_ids=[part.id]).file
client.uploads.cancel(client.uploads.create(bytes=1, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune").id)
client.files.create(file=("e.jsonl", b'{"item": {"a": "b"}}\n'), purpose="evals", expires_after={"anchor": "created_at", "seconds": 3600})
client.files.delete(client.files.create(file=("gone.jsonl", bytes_), purpose="fine-tune").id)
pairs = client.files.create(file=open(preferences, "rb"), purpose="fine-tune")
client.files.wait_for_processing(pairs.id)
list(client.files.list())

# jobs of each method, and every state that a client can cause
small = {"peft": {"peft_type": "LORA", "r": 2}, "graft": {"max_steps": 2}}
dpo = client.fine_tuning.jobs.create(
    model=base,
    training_file=pairs.id,
    method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 1}}},
    extra_body=small,
)
seen["dpo"] = [dpo.hyperparameters is not None, dpo.method.dpo.hyperparameters.beta]
old = client.fine_tuning.jobs.create(
    model=base, training_file=file.id, hyperparameters={"n_epochs": 1, "batch_size": 2}, metadata={"a": "b"}, extra_body=small
)
seen["hyperparameters"] = [old.hyperparameters.n_epochs, old.method.supervised.hyperparameters.batch_size]
paused = client.fine_tuning.jobs.create(model=base, training_file=file.id, seed=3)
with contextlib.suppress(openai.BadRequestError, openai.ConflictError):
    client.fine_tuning.jobs.pause(paused.id)
    client.fine_tuning.jobs.resume(paused.id)
client.fine_tuning.jobs.cancel(paused.id)


def ended(job):
    now = client.fine_tuning.jobs.retrieve(job.id)
    return now if now.status in ("succeeded", "failed", "cancelled") else None


until("the preferences", lambda: ended(dpo))
tuned = until("the hyperparameters", lambda: ended(old)).fine_tuned_model
seen["jobs"] = [one.object for one in client.fine_tuning.jobs.list(limit=3, metadata={"a": "b"})]
for job in (dpo, old, paused):
    list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    list(client.fine_tuning.jobs.checkpoints.list(job.id))
seen["results"] = client.files.retrieve(client.fine_tuning.jobs.retrieve(old.id).result_files[0]).purpose
grader = {"type": "string_check", "name": "same", "operation": "eq", "input": "{{sample.output_text}}", "reference": "a"}
seen["grader"] = client.fine_tuning.alpha.graders.validate(grader=grader).grader.type

# completions and chats with what adds fields to them
asked = {"model": base, "max_tokens": 3, "temperature": 0}
text = client.completions.create(**asked, prompt=["ab", "ba"], n=2, best_of=3, logprobs=2)
seen["choices"] = [len(text.choices), len(text.choices[0].logprobs.top_logprobs[0]) > 0]
list(client.completions.create(**asked, prompt="ab", logprobs=1, stream=True, stream_options={"include_usage": True}))
messages = [{"role": "user", "content": "ab"}]
chat = {"model": base, "messages": messages, "max_completion_tokens": 4, "seed": 1}
whole = client.chat.completions.create(**chat, logprobs=True, top_logprobs=2)
seen["chat"] = len(whole.choices[0].logprobs.content[0].top_logprobs)
list(client.chat.completions.create(**chat, logprobs=True, stream=True, stream_options={"include_usage": True}))
made = client.responses.create(
    model=base, input="ab", max_output_tokens=4, include=["message.output_text.logprobs"], top_logprobs=1
)
seen["response"] = len(made.output[0].content[0].logprobs[0].top_logprobs)
client.embeddings.create(model=base, input=[[1, 2], [3]], encoding_format="float")

# evals
evaluated = client.evals.create(
    name="types",
    metadata={"a": "b"},
    data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
    testing_criteria=[grader],
)
client.evals.update(evaluated.id, name="renamed")
client.evals.retrieve(evaluated.id)
list(client.evals.list(limit=2))
item = {"item": {"word": "abc"}}
sampled = {
    "type": "completions",
    "model": base,
    "source": {"type": "file_content", "content": [item]},
    "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.word}}"}]},
}
asked = {**sampled, "type": "responses"}
given = {"type": "jsonl", "source": {"type": "file_content", "content": [{**item, "sample": {"output_text": "a"}}]}}
for source in (sampled, asked, given):
    run = client.evals.runs.create(evaluated.id, name="run", data_source=source)
    until("a run", lambda: client.evals.runs.retrieve(run.id, eval_id=evaluated.id).status == "completed")
    (found,) = client.evals.runs.output_items.list(run.id, eval_id=evaluated.id)
    client.evals.runs.output_items.retrieve(found.id, eval_id=evaluated.id, run_id=run.id)
seen["runs"] = len(list(client.evals.runs.list(evaluated.id)))
client.evals.runs.cancel(run.id, eval_id=evaluated.id)
client.evals.runs.delete(run.id, eval_id=evaluated.id)


# webhooks
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(204)
        self.end_headers()


receiver = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
hook = client.webhooks.create(name="types", url=f"http://127.0.0.1:{receiver.server_port}", event_types=["fine_tuning.job.succeeded"])
client.webhooks.retrieve(hook.id)
client.webhooks.update(hook.id, name="renamed")
list(client.webhooks.list())
client.webhooks.event_types.list()
seen["secret"] = client.webhooks.rotate_secret(hook.id).signing_secret[:6]
client.webhooks.test(hook.id, event_type="fine_tuning.job.succeeded")
client.webhooks.delete(hook.id)

# admin
organization = client.admin.organization
key = organization.admin_api_keys.create(name="types")
organization.admin_api_keys.retrieve(key.id)
list(organization.admin_api_keys.list())
organization.admin_api_keys.delete(key.id)
project = organization.projects.create(name="types")
organization.projects.update(project.id, name="renamed")
organization.projects.retrieve(project.id)
list(organization.projects.list())
headers = {"authorization": f"Bearer {client.api_key}"}
api = f"/organization/projects/{project.id}"
user = client.post(f"{api}/users", cast_to=object, body={"name": "ada", "role": "member"}, options={"headers": headers})
organization.projects.users.retrieve(user["id"], project_id=project.id)
organization.projects.users.update(user["id"], project_id=project.id, role="owner")
list(organization.projects.users.list(project.id))
own = client.post(f"{api}/api_keys", cast_to=object, body={"name": "own", "member_id": user["id"]}, options={"headers": headers})
organization.projects.api_keys.retrieve(own["id"], project_id=project.id)
list(organization.projects.api_keys.list(project.id))
organization.projects.api_keys.delete(own["id"], project_id=project.id)
organization.projects.users.delete(user["id"], project_id=project.id)
organization.projects.archive(project.id)
# Graft's audit log has more types, for what OpenAI's does not record.
types = ["api_key.created", "api_key.deleted", "project.archived", "project.created", "project.updated", "user.added", "user.deleted"]
seen["audited"] = len({one.type for one in organization.audit_logs.list(limit=100, event_types=types)}) == len(types)
for usage in (organization.usage.completions, organization.usage.embeddings):
    usage(start_time=1, bucket_width="1d", group_by=["model", "project_id"], limit=31)
    usage(start_time=client.models.retrieve(base).created - 86400)

# models
list(client.models.list())
seen["deleted"] = client.models.delete(tuned).deleted
seen["validated"] = len(validated) > 40
print(json.dumps({"seen": seen, "requests": sorted(requests), "problems": problems}))
