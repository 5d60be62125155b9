"""What can go wrong with Kafka, in our own words."""


class KafkaError(Exception):
    """Base of all failures of the Kafka package."""


class KafkaUnavailableError(KafkaError):
    """The broker did not answer in time. A send that ends so may still have been written: same id again."""


class MessageTooLargeError(KafkaError):
    """A message is larger than its topic takes; it never will be taken."""


class OffsetOutOfRangeError(KafkaError):
    """The log no longer holds the position asked for."""


class TopicError(KafkaError):
    """A topic is missing or not as the registry declares it."""
