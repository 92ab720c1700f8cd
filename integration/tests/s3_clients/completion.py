# A completion under which the server dies, and what is found after its next start: the first argument says which.
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

step, bucket = sys.argv[1:]
PARTS = {1: b"1" * (5 << 20), 2: b"the end"}
STATE = "completion.json"
s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
)


def is_there():
    try:
        return s3.get_object(Bucket=bucket, Key="killed")["Body"].read() == b"".join(PARTS.values())
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey", error.response
        return False


def uploads():
    return [found["UploadId"] for found in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def complete(state):
    return s3.complete_multipart_upload(
        Bucket=bucket, Key="killed", UploadId=state["upload"], MultipartUpload={"Parts": state["parts"]}
    )


if step == "complete":
    upload = s3.create_multipart_upload(Bucket=bucket, Key="killed")["UploadId"]
    parts = []
    for number, body in PARTS.items():
        put = s3.upload_part(Bucket=bucket, Key="killed", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": put["ETag"]})
    state = {"upload": upload, "parts": parts}
    with open(STATE, "w") as file:
        json.dump(state, file)
    try:
        complete(state)
    except BotoCoreError:
        sys.exit(0)
    sys.exit("the completion was answered")

with open(STATE) as file:
    state = json.load(file)
if step == "not-done":
    assert not is_there()
    assert uploads() == [state["upload"]], uploads()
    listed = s3.list_parts(Bucket=bucket, Key="killed", UploadId=state["upload"])["Parts"]
    assert [part["Size"] for part in listed] == [len(body) for body in PARTS.values()], listed
else:
    assert is_there()
first = complete(state)
assert complete(state)["ETag"] == first["ETag"], "asked again, it is answered again"
assert is_there() and uploads() == []
s3.delete_object(Bucket=bucket, Key="killed")
assert not is_there()
