"""What alerting decides, without clock or I/O: matching, routing, the fold from facts and log to cases."""
