"""Scores of records that nobody reads: the server holds the model, the client the key, and neither sees the other's numbers.

::

    compiled = compile(model, sample, settings=Settings(plan="private-model"))      # the model's owner; proves that decisions agree
    print(compiled.plan.explain())

    public = PublicModel.from_bytes(compiled.public.to_bytes())                      # the client: structure and parameters, no weights
    key = SecretKey.generate(public.plan.parameters)
    client = Client(public, key)

    scorer = compiled.scorer(budget=100_000)                                         # the server
    scorer.admit(EncryptionKey.from_bytes(key.public.to_bytes()))

    margins = client.open(scorer.score(client.request(records)))
"""

from __future__ import annotations

from tacit.encrypted.client import Client
from tacit.encrypted.compiling import Agreement, Compiled, Settings, compile
from tacit.encrypted.keys import EncryptionKey, SecretKey
from tacit.encrypted.parameters import Parameters
from tacit.encrypted.plan import Plan
from tacit.encrypted.pool import Encryptors
from tacit.encrypted.public import PublicModel
from tacit.encrypted.scorer import EncryptedScorer
from tacit.encrypted.sites import EncryptedConversation, EncryptedSites
from tacit.encrypted.statistics import STATISTICS, Bars, Estimate, Statistics, statistic
from tacit.encrypted.sums import Evaluator, KeyHolder, SumPlan, contribute
from tacit.encrypted.survey import Survey, Terms
from tacit.encrypted.training import SQUARES, fit_squares
from tacit.models import SquareNetwork

__all__ = [
    "SQUARES", "STATISTICS", "Agreement", "Bars", "Client", "Compiled", "EncryptedConversation", "EncryptedScorer", "EncryptedSites", "EncryptionKey",
    "Encryptors", "Estimate", "Evaluator", "KeyHolder", "Parameters", "Plan", "PublicModel", "SecretKey", "Settings", "SquareNetwork", "Statistics",
    "SumPlan", "Survey", "Terms", "compile", "contribute", "fit_squares", "statistic",
]
