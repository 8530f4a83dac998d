"""The paper's tables and figures on any data: trained, measured, and compared with the published numbers."""

from clan_tf.reproduce.reproduce import NAMES, Plan, Reproduction, plan_reproduction, reproduce

__all__ = ["NAMES", "Plan", "Reproduction", "plan_reproduction", "reproduce"]
