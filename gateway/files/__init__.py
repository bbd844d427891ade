"""Files with secrets and certificates: what makes one unusable, and how it is read again when it changes."""
