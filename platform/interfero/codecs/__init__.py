"""Source codecs: loading, bitstream container, classical codecs, rate-distortion evaluation."""
