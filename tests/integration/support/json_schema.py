"""Which documents a JSON Schema allows: {"schema": …, "documents": […]} on standard input, a list of truth values on standard output."""
import json
import sys

import jsonschema

job = json.load(sys.stdin)
kind = jsonschema.validators.validator_for(job["schema"])
kind.check_schema(job["schema"])
validator = kind(job["schema"])
json.dump([validator.is_valid(document) for document in job["documents"]], sys.stdout)
