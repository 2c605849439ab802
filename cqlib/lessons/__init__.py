"""What the notebooks of lessons 01 to 06 draw and compute. Notebook: modules here.

    01_two_kl_divergences: kl_divergences
    02_coverage_and_quality: coverage_and_quality
    03_factorised_decoders: factorised_decoders, models
    04_nvp_in_a_nutshell: coupling_layers, coverage_and_quality, drawings, models, moons
    05_nvp_in_a_vae_decoder: coupling_layers, drawings, factorised_decoders, models, nvp_decoder
    06_cqf_put_together: drawings, models
"""
