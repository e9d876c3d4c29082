"""The guide, and the command that makes its API reference: python -m docs.build"""
