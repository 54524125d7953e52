"""Whether OCSF events, one a line of standard input, are what the schema says. None of the rules is ours:

- ocsf-json-schema has release 1.8.0 of the schema and makes of it the JSON Schema of the event's class with its profiles:
  members, types, what is required, enumerations, what must be there of several.
- pydantic-ocsf has models of 1.7.0, which differs from 1.8.0 in nothing that is used here. They know what a JSON Schema
  cannot say: that a name is the one of the number beside it, and a type's number that of its class and activity.

Prints what is wrong, `LINE VALIDATOR MEMBER: WHY`, and fails if something is; else how many events there are of each class.
"""

import collections
import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from ocsf.v1_7_0 import events, objects
from pydantic import ValidationError

# Members that pydantic-ocsf takes for something else than the schema does: any JSON for an object, an enumeration of
# texts for one of numbers, one that is added to for one that replaces (so that 0, unknown, is missing). The other
# validator looks at them.
MISTAKEN = {("api", "request", "data"), ("http_request", "http_method"), ("activity_id",)}
MODELS = {0: events.BaseEvent, 6003: events.ApiActivity}
events.BaseEvent.model_rebuild(_types_namespace={name: getattr(objects, name) for name in ("Enrichment",)})

schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))


def by_schema(event):
    if event.get("metadata", {}).get("version") != schema.schema.version:
        yield "metadata.version", "is not the release that is validated against"
    name = schema.lookup_class_name_from_uid(event["class_uid"])
    rules = schema.get_class_schema(name, event.get("metadata", {}).get("profiles", []))
    Draft202012Validator.check_schema(rules)
    for error in Draft202012Validator(rules).iter_errors(event):
        yield error.json_path, error.message


def by_models(event):
    try:
        MODELS[event["class_uid"]].model_validate(event)
    except ValidationError as error:
        for error in error.errors():
            if error["loc"] not in MISTAKEN:
                yield ".".join(map(str, error["loc"])), error["msg"]


wrong, classes = 0, collections.Counter()
for number, line in enumerate(sys.stdin):
    event = json.loads(line)
    classes[event["class_uid"]] += 1
    for name, validate in (("schema", by_schema), ("models", by_models)):
        # A model fills in what it can conclude, so each gets an event of its own.
        for member, why in validate(json.loads(line)):
            print(f"{number} {name} {member}: {why[:300]}")
            wrong += 1
if not wrong:
    print(", ".join(f"{count} of class {uid}" for uid, count in sorted(classes.items())))
sys.exit(1 if wrong else 0)
