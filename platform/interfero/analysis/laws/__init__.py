"""Laws: how forgetting and gain depend on images, steps, parameters, lambda and distance."""
