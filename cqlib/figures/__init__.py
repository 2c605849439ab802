"""What the notebooks of tables and figures show. Notebook: modules here; `strips` serves several of these.

    colourisation: colourisation
    explore: common, explore
    figure_ablations: ablations
    figure_decoders: common, decoders
    figure_metrics: metric_calibration
    figure_nvp_comparison: common, nvp_comparison
    figure_samples: common, samples
    figure_trade_off: trade_off
    table1_objectives: common
    table2_architectures: architectures, common
    table3_state_of_the_art: common, critics
    table4_seven_datasets: common, seven_data_sets
"""
