import base64
import hashlib
import os
import urllib.request

import boto3
from botocore import UNSIGNED
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

# Conditions of changes and of deletions; what is gone is gone, whatever it should have been.
s3.put_object(Bucket=bucket, Key="a/new", Body=b"", IfNoneMatch='"other"')
new = s3.head_object(Bucket=bucket, Key="a/new")
refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="a/new", Body=b"", IfNoneMatch=new["ETag"])
for wrong in [{"IfMatch": '"other"'}, {"IfMatchSize": 9}, {"IfMatchLastModifiedTime": "2001-01-01"}]:
    refused("PreconditionFailed", s3.delete_object, Bucket=bucket, Key="a/new", **wrong)
right = {"IfMatch": new["ETag"], "IfMatchSize": 0, "IfMatchLastModifiedTime": new["LastModified"]}
for _ in range(2):
    s3.delete_object(Bucket=bucket, Key="a/new", **right)
refused("404", s3.head_object, Bucket=bucket, Key="a/new")

# What is asked of a bucket, and of whom it is.
assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
assert s3.list_objects_v2(Bucket=bucket, ContinuationToken="")["ContinuationToken"] == ""
owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=owner)
refused("403", s3.head_bucket, Bucket=bucket, ExpectedBucketOwner=owner + "x")
anonymous = boto3.client(
    "s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=Config(signature_version=UNSIGNED)
)
assert anonymous.list_buckets()["Buckets"] == []
s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})
s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
s3.delete_bucket_ownership_controls(Bucket=bucket)
refused("OwnershipControlsNotFoundError", s3.get_bucket_ownership_controls, Bucket=bucket)

# Forms, signed in either version.
for version in ["s3", "s3v4"]:
    signer = boto3.client(
        "s3",
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
    form = signer.generate_presigned_post(bucket, "a/form", Fields={"acl": "private"}, Conditions=[{"acl": "private"}])
    border = "border"
    fields = [f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form["fields"].items()]
    file = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n{version}\r\n--{border}--\r\n'
    sent = urllib.request.Request(
        form["url"],
        data="".join(fields + [file]).encode(),
        headers={"Content-Type": f"multipart/form-data; boundary={border}"},
    )
    assert urllib.request.urlopen(sent).status == 204
    assert s3.get_object(Bucket=bucket, Key="a/form")["Body"].read() == version.encode()

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
# Parts with a checksum that was named, one of them a copy.
upload = s3.create_multipart_upload(Bucket=bucket, Key="sums", ChecksumAlgorithm="SHA256")["UploadId"]
names = {"Bucket": bucket, "Key": "sums", "UploadId": upload}
put = s3.upload_part(**names, PartNumber=1, Body=part, ChecksumAlgorithm="SHA256")
copied = s3.upload_part_copy(
    **names, PartNumber=2, CopySource={"Bucket": bucket, "Key": "source"}, CopySourceRange="bytes=7-1006"
)["CopyPartResult"]
sums = [base64.b64encode(hashlib.sha256(data).digest()).decode() for data in (part, (part + part)[7:1007])]
assert [put["ChecksumSHA256"], copied["ChecksumSHA256"]] == sums
order = [{"PartNumber": number, "ETag": one["ETag"], "ChecksumSHA256": one["ChecksumSHA256"]} for number, one in [(1, put), (2, copied)]]
s3.complete_multipart_upload(**names, MultipartUpload={"Parts": order})
listed = s3.get_object_attributes(Bucket=bucket, Key="sums", ObjectAttributes=["Checksum", "ObjectParts"])
assert [found["ChecksumSHA256"] for found in listed["ObjectParts"]["Parts"]] == sums, listed
assert listed["Checksum"]["ChecksumSHA256"].endswith("-2")
got = s3.get_object(Bucket=bucket, Key="sums", PartNumber=2, ChecksumMode="ENABLED")
assert got["ChecksumSHA256"] == sums[1] and got["Body"].read() == (part + part)[7:1007]

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
