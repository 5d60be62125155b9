"""Kafka: the only package that imports aiokafka. What it gives out are plain records and messages."""

from cxloop_common.kafka.records import Message, Partition, Record

__all__ = ["Message", "Partition", "Record"]
