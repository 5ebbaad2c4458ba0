"""The read-only lookup: which segments is this user in?"""
