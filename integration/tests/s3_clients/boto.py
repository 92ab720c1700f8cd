import hashlib
import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

bucket = os.environ["BUCKET"]
s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
)


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
        return
    raise AssertionError(f"{call.__name__}{arguments} was not refused with {code}")


assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
s3.head_bucket(Bucket=bucket)
refused("404", s3.head_bucket, Bucket="no-such-bucket")
refused("NoSuchBucket", s3.list_objects_v2, Bucket="no-such-bucket")
refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="none")
refused("404", s3.head_object, Bucket=bucket, Key="none")

# What is said of an object comes back.
body = b"0123456789" * 1000
put = s3.put_object(
    Bucket=bucket,
    Key="a/key",
    Body=body,
    ContentType="text/plain",
    CacheControl="no-cache",
    Metadata={"colour": "green"},
    Tagging="one=1&two=2",
)
etag = '"' + hashlib.md5(body).hexdigest() + '"'
assert put["ETag"] == etag, put
assert put["ResponseMetadata"]["HTTPHeaders"]["x-tidegate-durability"] == "local"
got = s3.get_object(Bucket=bucket, Key="a/key")
assert got["Body"].read() == body and got["ETag"] == etag
assert (got["ContentType"], got["CacheControl"]) == ("text/plain", "no-cache")
assert got["Metadata"] == {"colour": "green"} and got["TagCount"] == 2
tags = s3.get_object_tagging(Bucket=bucket, Key="a/key")["TagSet"]
assert {tag["Key"]: tag["Value"] for tag in tags} == {"one": "1", "two": "2"}
s3.put_object_tagging(Bucket=bucket, Key="a/key", Tagging={"TagSet": [{"Key": "three", "Value": "3"}]})
assert len(s3.get_object_tagging(Bucket=bucket, Key="a/key")["TagSet"]) == 1
s3.delete_object_tagging(Bucket=bucket, Key="a/key")
assert s3.get_object_tagging(Bucket=bucket, Key="a/key")["TagSet"] == []
assert s3.head_object(Bucket=bucket, Key="a/key")["ETag"] == etag, "tags change no data"

# Ranges and conditions.
assert s3.get_object(Bucket=bucket, Key="a/key", Range="bytes=5-9")["Body"].read() == b"56789"
assert s3.get_object(Bucket=bucket, Key="a/key", Range="bytes=-3")["Body"].read() == b"789"
refused("InvalidRange", s3.get_object, Bucket=bucket, Key="a/key", Range="bytes=99999-")
refused("304", s3.get_object, Bucket=bucket, Key="a/key", IfNoneMatch=etag)
refused("PreconditionFailed", s3.get_object, Bucket=bucket, Key="a/key", IfMatch='"other"')
refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="a/key", Body=b"", IfNoneMatch="*")
s3.put_object(Bucket=bucket, Key="a/new", Body=b"", IfNoneMatch="*")
refused("BadDigest", s3.put_object, Bucket=bucket, Key="a/new", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")

# Checksums, all five where the client can.
for algorithm, field in [("CRC32", "ChecksumCRC32"), ("SHA1", "ChecksumSHA1"), ("SHA256", "ChecksumSHA256")]:
    s3.put_object(Bucket=bucket, Key="sum", Body=body, ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    assert field in head, (algorithm, head)
attributes = s3.get_object_attributes(Bucket=bucket, Key="sum", ObjectAttributes=["ETag", "ObjectSize", "Checksum"])
assert attributes["ObjectSize"] == len(body) and attributes["ETag"].strip('"') == etag.strip('"')

# Copies.
s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a/key"})
copied = s3.get_object(Bucket=bucket, Key="copy")
assert copied["Body"].read() == body and copied["Metadata"] == {"colour": "green"}
refused("InvalidRequest", s3.copy_object, Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "copy"})
s3.copy_object(
    Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "copy"},
    MetadataDirective="REPLACE", Metadata={"colour": "red"},
)
assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"colour": "red"}

# Parts, out of order, one of them replaced, one of them a copy.
part = os.urandom(5 << 20)
upload = s3.create_multipart_upload(Bucket=bucket, Key="big", Metadata={"m": "1"})["UploadId"]
parts = {3: b"tail", 1: part}
done = []
for number, data in parts.items():
    s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=b"replaced")
    answer = s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=data)
    done.append({"PartNumber": number, "ETag": answer["ETag"]})
s3.put_object(Bucket=bucket, Key="source", Body=part + part)
answer = s3.upload_part_copy(
    Bucket=bucket, Key="big", UploadId=upload, PartNumber=2,
    CopySource={"Bucket": bucket, "Key": "source"}, CopySourceRange=f"bytes=7-{6 + len(part)}",
)
done.append({"PartNumber": 2, "ETag": answer["CopyPartResult"]["ETag"]})
assert [found["PartNumber"] for found in s3.list_parts(Bucket=bucket, Key="big", UploadId=upload)["Parts"]] == [1, 2, 3]
assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
order = {"Parts": done}
refused("InvalidPartOrder", s3.complete_multipart_upload, Bucket=bucket, Key="big", UploadId=upload, MultipartUpload=order)
order = {"Parts": sorted(done, key=lambda part: part["PartNumber"])}
answer = s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload=order)
assert answer["ETag"].endswith('-3"'), answer
got = s3.get_object(Bucket=bucket, Key="big")
assert got["Body"].read() == part + (part + part)[7 : 7 + len(part)] + b"tail" and got["Metadata"] == {"m": "1"}
assert s3.get_object(Bucket=bucket, Key="big", PartNumber=3)["Body"].read() == b"tail"
upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
s3.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload)
refused("NoSuchUpload", s3.list_parts, Bucket=bucket, Key="big", UploadId=upload)

# Pages.
keys = [f"list/{folder}/{number}" for folder in "abc" for number in range(7)]
for key in keys:
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
for operation in ["list_objects", "list_objects_v2"]:
    pages = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": 4})
    assert [found["Key"] for page in pages for found in page.get("Contents", [])] == keys, operation
    pages = s3.get_paginator(operation).paginate(
        Bucket=bucket, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 2}
    )
    found = [found["Prefix"] for page in pages for found in page.get("CommonPrefixes", [])]
    assert found == ["list/a/", "list/b/", "list/c/"], (operation, found)
answer = s3.list_objects_v2(Bucket=bucket, Prefix="list/", StartAfter="list/b/5", MaxKeys=2)
assert [found["Key"] for found in answer["Contents"]] == ["list/b/6", "list/c/0"] and answer["IsTruncated"]

# Away with it all.
everything = [found["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for found in page["Contents"]]
answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in everything + ["none"]]})
assert len(answer["Deleted"]) == len(everything) + 1 and "Errors" not in answer
assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
print("all good")
