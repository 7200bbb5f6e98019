"""Makes the bucket, unless it is there: ``make_bucket.py BUCKET``; AWS_* variables name the server and the keys."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def make_bucket(bucket: str) -> None:
    """Make the bucket on the server that ``AWS_ENDPOINT_URL`` names; one that is ours already is left as it is."""
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    try:
        s3.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
        s3.head_bucket(Bucket=bucket)  # that of somebody else refuses
    print(f"the bucket {bucket} is there")


if __name__ == "__main__":
    make_bucket(sys.argv[1])
