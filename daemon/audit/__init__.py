"""The record of what became of every change and of what operators did, which nobody can alter unseen."""
