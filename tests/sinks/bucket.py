"""The bucket of the tests: `bucket.py create|read PORT`.

`read` prints the lines of the archive in the order of their objects' names, and of the checkpoints, and fails unless
every object is locked and no checkpoint is missing its signature.
"""

import datetime
import json
import sys

import boto3

verb, port = sys.argv[1], sys.argv[2]
s3 = boto3.client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{port}",
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="testtesttest",
)
if verb == "create":
    s3.create_bucket(Bucket="evidence", ObjectLockEnabledForBucket=True)
    sys.exit()

soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=29)
for page in s3.get_paginator("list_objects_v2").paginate(Bucket="evidence"):
    for entry in page.get("Contents", []):
        item = s3.get_object(Bucket="evidence", Key=entry["Key"])
        assert item["ObjectLockMode"] == "COMPLIANCE", entry["Key"]
        assert item["ObjectLockRetainUntilDate"] > soon, entry["Key"]
        assert entry["Key"].startswith("host-a/"), entry["Key"]
        text = item["Body"].read().decode()
        if entry["Key"].startswith("host-a/checkpoints/"):
            assert "\n\n\u2014 interceptor/sinks " in text, text
            print(json.dumps({"checkpoint": {"note": text}}))
        else:
            sys.stdout.write(text)
