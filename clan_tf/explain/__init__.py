"""What a model looks at: Grad-CAM, spatial attention maps, and the relations of a position."""

from clan_tf.explain.explain import explain_photos
from clan_tf.explain.maps import Explainer, Explanation, stages_of

__all__ = ["Explainer", "Explanation", "explain_photos", "stages_of"]
