"""The classifiers that can be the head of a transfer model."""

from dlcli.spec.model.heads.classifiers import KNN, SVC, ClassifierSpec, LinearSVC, LogisticRegression, RandomForest

Classifier = LogisticRegression | LinearSVC | SVC | RandomForest | KNN

__all__ = ["KNN", "SVC", "Classifier", "ClassifierSpec", "LinearSVC", "LogisticRegression", "RandomForest"]
